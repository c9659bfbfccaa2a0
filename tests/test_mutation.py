"""What `make mutants` accepts is still there to be mutated; its own operators do what their examples say."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from tests import coverage
from tests.mutant_tests import seeing

ROOT = Path(__file__).resolve().parent.parent
ACCEPTED = tomllib.loads((ROOT / "tests/mutants/accepted.toml").read_text())["accepted"]

SOURCE = """\
LIMIT = 1

async def path(cell):
    if await cell.load() == 1:
        await cell.store(
            2,
        )
    elif LIMIT:
        await cell.store(3)

@cache
def remembered():
    return 4
"""


@pytest.mark.parametrize("entry", ACCEPTED, ids=[f"{each['function']}-{n}" for n, each in enumerate(ACCEPTED)])
def test_an_accepted_survivor_is_in_its_function_or_class(entry):
    assert set(entry) == {"file", "function", "line", "becomes", "why"}
    text = (ROOT / entry["file"]).read_text()
    definitions = [
        ast.get_source_segment(text, node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == entry["function"]
    ]
    places = definitions if entry["function"] else [text]
    assert any(entry["line"] in [line.strip() for line in place.splitlines()] for place in places)


def test_no_survivor_is_accepted_twice():
    keys = [(each["file"], each["function"], each["line"], each["becomes"]) for each in ACCEPTED]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("changed", "lines"),
    [({1}, None), ({4}, {4}), ({6}, {5}), ({5, 9}, {5, 9}), ({8}, {4}), ({13}, None)],
    ids=["import", "condition", "inside a statement", "two", "elif", "cached"],
)
def test_the_lines_by_which_a_mutant_finds_its_tests(changed, lines):
    assert coverage.noted(SOURCE, changed) == lines


def test_instrumented_text_notes_its_statements_and_is_sound():
    text = coverage.instrumented("a.py", SOURCE)
    ast.parse(text)
    assert [int(line.rpartition(" ")[2][:-1]) for line in text.splitlines() if coverage.NOTE in line] == [4, 5, 9, 13]


def test_the_quick_tests_that_run_a_line_come_first():
    record = {"slow": [2.0, {"a.py": [4]}], "quick": [0.1, {"a.py": [4, 5]}], "other": [0.0, {"a.py": [9]}]}
    assert seeing(record, "a.py", {4}) == ["quick", "slow"]
    assert seeing(record, "a.py", None) == ["other", "quick", "slow"]


def test_our_operators_do_what_their_examples_say():
    mutating = pytest.importorskip("cosmic_ray.mutating", reason="cosmic-ray is in the extra `mutants`")
    from tests import mutation_operators as ours

    for operator in (ours.LeaveOutLock, ours.LeaveOutStep, ours.NegateMembership, ours.SwapSteps):
        for example in operator.examples():
            assert mutating.mutate_code(example.pre_mutation_code, operator(), 0) == example.post_mutation_code
            assert mutating.mutate_code(example.pre_mutation_code, operator(), 1) is None


@pytest.mark.parametrize(
    "body", ["x = await a.load()\n    await b.store(x)\n", "async with a as b:\n        await c()\n"]
)
def test_what_needs_the_value_of_another_step_is_left_alone(body):
    mutating = pytest.importorskip("cosmic_ray.mutating", reason="cosmic-ray is in the extra `mutants`")
    from tests import mutation_operators as ours

    code = f"async def f():\n    {body}"
    assert mutating.mutate_code(code, ours.SwapSteps(), 0) is None
    assert mutating.mutate_code(code, ours.LeaveOutLock(), 0) is None
