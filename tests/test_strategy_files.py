"""Strategies are found by name or in a file of the user's own, and a mistake in either is one sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from mmsim import catalogue
from mmsim.errors import UserError
from tests.test_catalogue import write


@attrs.frozen
class Design:
    name: str


KNOWN = {"sealing_v2": Design("sealing_v2"), "wait_for_pins": Design("wait_for_pins")}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes a strategy file that can import `Design`, and names what is in it."""
    monkeypatch.setitem(sys.modules, "designs", sys.modules[Design.__module__])

    def name(text: str) -> str:
        return f"{write(tmp_path, 'from designs import Design' + chr(10) + text, 'own.py')}"

    return name


def strategy_refusal(text: str) -> str:
    with pytest.raises(UserError) as caught:
        catalogue.resolve_strategy(text, KNOWN)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_strategy_is_found_by_name() -> None:
    assert catalogue.resolve_strategy("sealing_v2", KNOWN) is KNOWN["sealing_v2"]


def test_a_strategy_is_found_in_a_file(own: Callable[[str], str]) -> None:
    path = own("eager = Design('eager')\n")
    assert catalogue.resolve_strategy(f"{path}:eager", KNOWN) == Design("eager")


def test_an_unknown_strategy_is_answered_with_the_nearest(own: Callable[[str], str]) -> None:
    assert strategy_refusal("wait_for_pin") == "no strategy is named 'wait_for_pin'; did you mean 'wait_for_pins'?"
    assert strategy_refusal("q") == (
        "no strategy is named 'q'; there are sealing_v2, wait_for_pins; or write FILE.py:NAME"
    )
    path = own("eager = Design('eager')\n")
    assert strategy_refusal(f"{path}:eagre") == f"{path} has nothing named 'eagre'; did you mean 'eager'?"
    assert strategy_refusal(f"{path}:q") == f"{path} has nothing named 'q'; it has eager"
    path = own("")
    assert strategy_refusal(f"{path}:q") == f"{path} has nothing named 'q'; it has no strategy at all"


def test_a_strategy_file_without_a_name_or_of_the_wrong_kind(own: Callable[[str], str]) -> None:
    path = own("eager = 3\n")
    assert strategy_refusal(path) == f"'{path}' names a file but no strategy in it; write {path}:NAME"
    assert strategy_refusal(f"{path}:eager") == (
        f"{path}: 'eager' is an int, not a strategy; make one with `attrs.evolve(base, name=..., ...)`"
    )


def test_a_strategy_file_that_does_not_exist_or_import(tmp_path: Path, own: Callable[[str], str]) -> None:
    missing = tmp_path / "missing.py"
    assert strategy_refusal(f"{missing}:x") == f"there is no strategy file '{missing}'"
    path = own("1 // 0\n")
    assert strategy_refusal(f"{path}:x").startswith(
        f"{path}, line 2: the strategy file does not import: ZeroDivisionError: "
    )
