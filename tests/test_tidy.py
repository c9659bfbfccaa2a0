"""Slips that neither mypy nor ruff can see, found in the sources.  Each check is itself checked on a bad example."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
KERNEL = sorted((ROOT / "mmsim" / "kernel").rglob("*.py"))
PATHS = [*KERNEL, *sorted((ROOT / "mmsim" / "strategies").rglob("*.py")), *sorted((ROOT / "scenarios").glob("*.py"))]
SOURCES = sorted((ROOT / "mmsim").rglob("*.py"))

STEPS = {
    "load", "store", "exchange", "cmpxchg", "fetch_update", "wait_until", "wait_until_timeout", "spin_until",
    "spin_update", "inc", "dec", "get_reference", "dec_and_test", "add_return", "inc_not_zero",
    "inc_unless_negative", "dec_unless_positive", "test_and_set", "acquire", "release", "downgrade",
}  # fmt: skip

TAKING_FUNCTIONS = {"update", "fetch_update", "wait_until", "wait_until_timeout", "spin_until", "spin_update"}
NO_PATHS = {"__init__", "paths", "releases", "strategy"}  # they follow no file of Linux
LONGEST = 500


def parents(tree):
    return {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}


def lost_steps(tree):
    """Calls that make a step which nobody awaits or returns (a conditional expression in between is fine)."""
    above = parents(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STEPS:
            user = above[node]
            while isinstance(user, ast.IfExp):
                user = above[user]
            if not isinstance(user, ast.Await | ast.Return):
                yield node.lineno


def awaits_in_finally(tree):
    """`finally:` with an await in it: a driver that drops a coroutine closes it, and nothing may be awaited then."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Try):
            for statement in node.finalbody:
                yield from (n.lineno for n in ast.walk(statement) if isinstance(n, ast.Await | ast.AsyncWith))


def lambdas(tree):
    """Lambdas handed to a cell: two runs of one path would make unequal steps."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TAKING_FUNCTIONS:
            yield from (argument.lineno for argument in node.args if isinstance(argument, ast.Lambda))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.parametrize("check", [lost_steps, awaits_in_finally, lambdas])
def test_paths(check, path):
    lines = list(check(ast.parse(path.read_text())))
    assert not lines, f"{path}: lines {lines}: {check.__doc__}"


@pytest.mark.parametrize(
    ("check", "bad", "good"),
    [
        (lost_steps, "cell.load()", "await cell.load()"),
        (lost_steps, "if cell.inc_not_zero(): pass", "if await cell.inc_not_zero(): pass"),
        (lost_steps, "x = lock.acquire()", "return lock.acquire()"),
        (awaits_in_finally, "try: pass\nfinally: await put()", "try: await put()\nfinally: pass"),
        (lambdas, "await cell.wait_until(lambda v: v)", "await cell.wait_until(is_set)"),
    ],
)
def test_the_checks_themselves(check, bad, good):
    assert list(check(ast.parse(f"async def f():\n {bad.replace(chr(10), chr(10) + ' ')}")))
    assert not list(check(ast.parse(f"async def f():\n {good.replace(chr(10), chr(10) + ' ')}")))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is(path):
    text = path.read_text()
    assert not text or ast.get_docstring(ast.parse(text)), f"{path} has no docstring"


@pytest.mark.parametrize(
    "path", [path for path in KERNEL if path.stem not in NO_PATHS], ids=lambda path: str(path.relative_to(ROOT))
)
def test_kernel_files_say_what_they_leave_out(path):
    assert "Not modelled" in ast.get_docstring(ast.parse(path.read_text())), f"{path}: silence is read as 'modelled'"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_too_long(path):
    assert len(path.read_text().splitlines()) < LONGEST, f"{path}: time to cut it in two"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "scenarios").glob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_scenario_says_what_each_thread_does(path):
    assert "\n\n" in ast.get_docstring(ast.parse(path.read_text())), f"{path}: one line, then who does what"
