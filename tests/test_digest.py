"""What a kept answer depends on: each text that can change a verdict changes the key, and nothing else does."""

from __future__ import annotations

import functools
import subprocess
import sys

import attrs
import pytest

from mmsim import batch, catalogue, digest
from mmsim.kernel.memfd import memfd_wait_for_pins
from mmsim.strategies import STRATEGIES
from mmsim.strategies.delayed_unmap import delayed_unmap
from mmsim.strategies.wait_for_pins import wait_for_pins

RACE = "dio_completes_after_seal"


def keys(*scenarios, strategies=(), release=None, **options):
    return [(task.kept_as, task.key) for task in batch.plan(scenarios, strategies, release, batch.Options(**options))]


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A copy of mmsim's own texts in place of those that are digested."""
    import shutil

    root = tmp_path / "mmsim"
    shutil.copytree(digest.ROOT, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(digest, "ROOT", root)
    return root


@pytest.mark.parametrize(
    "file",
    ["kernel/gup.py", "kernel/entry/memory.py", "engine/reduced.py", "check/judge.py", "cells.py", "scenario.py"],
)
def test_a_changed_model_or_engine_is_another_question(model, file):
    before = keys(RACE)
    (model / file).write_text((model / file).read_text() + "\n# changed\n")
    after = keys(RACE)
    assert [kept for kept, _ in after] == [kept for kept, _ in before]
    assert all(new != old for (_, new), (_, old) in zip(after, before, strict=True))


def test_a_new_file_of_the_model_is_another_question(model):
    before = keys(RACE)
    (model / "kernel" / "new.py").write_text("")
    assert keys(RACE) != before


def test_changed_words_are_told_anew_but_are_no_other_question(model):
    before, asked = keys(RACE), batch.load(RACE, "sealing_v2", None).digest
    (model / "report" / "values.py").write_text("# changed\n")
    assert keys(RACE) != before
    assert batch.load(RACE, "sealing_v2", None).digest == asked


@pytest.mark.parametrize("file", ["cli/base.py", "timed/run.py", "conformance/run.py", "store.py"])
def test_what_no_verdict_comes_from_changes_nothing(model, file):
    before = keys(RACE)
    (model / file).write_text((model / file).read_text() + "\n# changed\n")
    assert keys(RACE) == before


def test_a_changed_scenario_is_another_question(tmp_path):
    file = tmp_path / "race.py"
    text = (catalogue.folder() / f"{RACE}.py").read_text()
    file.write_text(text)
    before = keys(file.as_posix())
    assert keys(file.as_posix()) == before
    file.write_text(text.replace('b"late"', 'b"lata"'))
    assert all(new != old for (_, new), (_, old) in zip(keys(file.as_posix()), before, strict=True))


def test_what_a_scenario_imports_from_its_folder_counts(tmp_path, monkeypatch):
    file, helper = tmp_path / "race.py", tmp_path / "mmsim_test_helper.py"
    file.write_text((catalogue.folder() / f"{RACE}.py").read_text() + "\nimport mmsim_test_helper\n")
    helper.write_text("WORD = 1\n")
    before = keys(file.as_posix())
    helper.write_text("WORD = 2\n")
    monkeypatch.delitem(sys.modules, "mmsim_test_helper")
    assert keys(file.as_posix()) != before


MINE = """
import attrs
from mmsim.strategies.wait_for_pins import wait_for_pins
import mmsim_test_part

async def unpin(k, pin):
    await mmsim_test_part.drop(k, pin)

mine = attrs.evolve(wait_for_pins, name="mine", unpin=unpin)
"""
PART = """
from mmsim.kernel.page_alloc import put_page
async def drop(k, pin):
    await put_page(k, pin.page)
"""


def test_a_strategy_s_own_text_and_what_it_imports_count(tmp_path, monkeypatch):
    file, part = tmp_path / "mine.py", tmp_path / "mmsim_test_part.py"
    file.write_text(MINE)
    part.write_text(PART)
    ask = functools.partial(keys, RACE, strategies=[f"{file}:mine"])
    before = ask()
    assert ask() == before
    part.write_text(PART + "\n# changed\n")
    changed = ask()
    assert changed != before
    file.write_text(MINE + "\n# changed\n")
    assert ask() not in (before, changed)
    monkeypatch.delitem(sys.modules, "mmsim_test_part")


def test_of_the_strategies_only_those_used_count(model, monkeypatch):
    before = dict(zip([s.name for s in STRATEGIES], keys(RACE), strict=True))
    path = digest.Path(sys.modules["mmsim.strategies.delayed_unmap"].__file__)
    read = digest.Path.read_bytes
    monkeypatch.setattr(digest.Path, "read_bytes", lambda self: read(self) + b"#" * (self == path))
    after = dict(zip([s.name for s in STRATEGIES], keys(RACE), strict=True))
    assert {name for name in before if before[name] != after[name]} == {
        name for name in before if name.startswith("delayed_unmap")
    }


def test_each_field_of_a_strategy_but_its_doc_counts():
    of = digest.of_strategy
    assert of(wait_for_pins) == of(attrs.evolve(wait_for_pins, doc="other words"))
    others = [
        attrs.evolve(wait_for_pins, name="other"),
        attrs.evolve(wait_for_pins, unpin=delayed_unmap.unpin),
        attrs.evolve(wait_for_pins, guards=frozenset()),
        attrs.evolve(wait_for_pins, counts=("pins",)),
        attrs.evolve(wait_for_pins, exclude_pins=functools.partial(memfd_wait_for_pins, last=3)),
        attrs.evolve(wait_for_pins, exclude_pins=functools.partial(memfd_wait_for_pins, last=4)),
        attrs.evolve(wait_for_pins, exclude_pins=waiting(3)),
        attrs.evolve(wait_for_pins, exclude_pins=waiting(4)),
    ]
    assert len({of(one) for one in [wait_for_pins, delayed_unmap, *others]}) == len(others) + 2


def waiting(scans):
    async def exclude_pins(_k, _mapping):
        return scans

    return exclude_pins


def test_how_to_answer_counts_and_bounds_do_not():
    plain = keys(RACE)
    assert keys(RACE, max_states=10, max_seconds=1.0, seed=3) == plain
    for option in ({"first": True}, {"reduce": False}, {"all_steps": True}):
        assert not set(keys(RACE, **option)) & set(plain)
    assert set(keys(RACE, walker="pos")) == {("", "")}


def test_releases_have_questions_of_their_own():
    assert not set(keys(RACE, release="v6.1")) & set(keys(RACE))


def test_keys_are_the_same_in_every_process():
    program = (
        "from mmsim import batch\n"
        f"print([(t.kept_as, t.key) for t in batch.plan(({RACE!r},), (), None, batch.Options())])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
            cwd=digest.ROOT.parent,
        ).stdout.strip()
        for seed in "12"
    }
    assert told == {repr(keys(RACE))}
