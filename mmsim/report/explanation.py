"""`mmsim explain`: why one design has the verdict it has on one scenario."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import attrs

from mmsim.check.price import differences
from mmsim.kernel.strategy import linux
from mmsim.report.text import WIDTH, filled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmsim.kernel.releases import Release
    from mmsim.kernel.strategy import Strategy
    from mmsim.scenario import Scenario


def text(scenario: Scenario, strategy: Strategy, release: Release, said: str, result: Mapping[str, Any]) -> str:
    """The verdict as `check` tells it; then what was seen; then the design's own argument, its points and its price.

    `said` and `result` are the answer in words and for programs; they may have been kept from an earlier run.
    """
    test = result["test"]
    expected = f"expected {result['expected']}" if result["expected"] else "nothing expected"
    parts = [
        filled(f"{test['strategy']} on {test['scenario']}, {test['release']}: {result['verdict']} ({expected})."),
        said,
        *(listed(title, lines) for title, lines in sections(scenario, strategy, release, result)),
        "This answer was kept from an earlier run, for nothing it depends on has changed."
        if result["reused"]
        else "This answer was found in this run.",
    ]
    return "\n\n".join(part for part in parts if part)


def sections(
    scenario: Scenario, strategy: Strategy, release: Release, result: Mapping[str, Any]
) -> list[tuple[str, list[str]]]:
    """What there is to say beside the verdict: titles, and sentences under them."""
    return [
        ("What has to be possible, and where it was seen:", witnesses(result)),
        ("Seen beside the verdict:", seen(scenario, result["observed"])),
        (f"{strategy.name} argues:", [first_paragraph(strategy.doc)] if says_something(strategy) else []),
        ("It differs from `linux` in:", points(strategy)),
        ("It costs more than `linux`:", [str(one) for one in differences(strategy, release) if str(one)]),
    ]


def witnesses(result: Mapping[str, Any]) -> list[str]:
    """Each `sometimes` with an outcome that shows it."""
    return [f"{name}: {outcome or 'never'}" for name, outcome in result["sometimes"].items()]


def seen(scenario: Scenario, observed: Mapping[str, Any]) -> list[str]:
    """The observations as sentences."""
    told = [
        f"{wait['call']} is left waiting for {wait['field']} in {wait['function']}() where a device stays silent"
        for wait in observed["waits"]
    ]
    seal = observed["seal"]
    if seal["steps"] != 0:
        steps = "any number of steps" if seal["steps"] is None else f"at most {seal['steps']} steps"
        told.append(f"a sealing call takes {steps} and {asleep(seal)}")
    told += [f"refused though nobody needed it: {name}" for name in observed["needless"]]
    if scenario.needless and not observed["needless"]:
        told.append("nobody is refused who need not be")
    told += [
        f"{drop['field']} is given back in {drop['context']} context{', the last one too' if drop['last'] else ''}"
        for drop in observed["drops"]
    ]
    return told


def asleep(seal: Mapping[str, Any]) -> str:
    """How long a sealing call sleeps."""
    where = " and ".join(f"{function}()" for function in seal["sleeps_in"])
    if not where:
        return "never sleeps"
    longest = "any time" if seal["sleeps_ns"] is None else f"up to {seal['sleeps_ns'] / 1e6:g} ms"
    return f"sleeps {longest} in {where}"


def points(strategy: Strategy) -> list[str]:
    """The points at which a design is not `linux`, by the names of its functions."""
    told = []
    for field in attrs.fields(type(strategy)):
        own, base = getattr(strategy, field.name), getattr(linux, field.name)
        if callable(own) and own is not base:
            told.append(f"{field.name}: {own.__module__.rpartition('.')[2]}.{getattr(own, '__name__', own)}()")
    return told


def says_something(strategy: Strategy) -> bool:
    """Whether a design has a text of its own, and not just that of the record it was made from."""
    return strategy.name == linux.name or strategy.doc != linux.doc


def first_paragraph(doc: str) -> str:
    """Up to the first blank line after the title, or the title alone."""
    title, _, rest = doc.strip().partition("\n\n")
    return f"{title} {rest.partition(chr(10) * 2)[0]}".strip()


def listed(title: str, lines: list[str]) -> str:
    """A title with indented paragraphs beneath it; '' where there are none."""
    if not any(lines):
        return ""
    return "\n".join(
        [
            title,
            *(
                textwrap.fill(
                    " ".join(line.split()),
                    WIDTH,
                    initial_indent="  ",
                    subsequent_indent="    ",
                    break_long_words=False,
                    break_on_hyphens=False,
                )
                for line in lines
            ),
        ]
    )
