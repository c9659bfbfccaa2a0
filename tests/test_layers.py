"""Which module may import which: only from lower rows, and never from its own row (design.md section 7)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "mmsim").rglob("*.py"))
SCENARIOS = sorted((ROOT / "scenarios").glob("*.py"))

ROWS = (
    ("steps", "errors", "syscalls", "verdict", "versions"),
    ("cells", "scenario", "trace"),  # cells' verbs make steps
    ("threads",),
    ("kernel", "engine"),
    ("strategies",),
    ("catalogue", "machine", "digest", "store", "jobs"),
    ("check", "timed", "conformance"),
    ("report",),
    ("batch", "emit"),
    ("sweep", "session"),
    ("api",),
    ("cli",),
    ("__main__", "pytest_plugin"),
)
ROW = {part: row for row, parts in enumerate(ROWS) for part in parts}

ONLY_IN = {
    "simpy": {"timed"},
    "os": {"conformance"},
    "ctypes": {"conformance"},
    "fcntl": {"conformance"},
    "mmap": {"conformance"},
    "threading": {"conformance"},
    "subprocess": {"conformance"},
    "click": {"cli"},
    "platformdirs": {"cli"},
    "matplotlib": {"report"},
    "distributed": {"sweep"},
    "tempfile": {"store", "conformance"},
    "time": {"check", "conformance", "batch", "sweep"},  # check's clock is a parameter; the others measure wall time
    "random": {"engine", "check", "timed", "conformance"},  # always seeded by the caller
    "secrets": set(),
    "datetime": set(),
}


def part_of(path: Path) -> str:
    """`kernel` for mmsim/kernel/gup.py, `cells` for mmsim/cells.py."""
    return path.relative_to(ROOT / "mmsim").with_suffix("").parts[0]


def imports(path: Path) -> list[tuple[int, str]]:
    """Every module imported anywhere in a file, with its line; names imported from `mmsim` itself are its parts."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            whole = node.module == "mmsim"
            found += [(node.lineno, f"mmsim.{alias.name}" if whole else str(node.module)) for alias in node.names]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_from_lower_rows_only(path):
    part = part_of(path)
    if part == "__init__":
        assert imports(path) == []
        return
    for line, name in imports(path):
        top, _, rest = name.partition(".")
        if top == "mmsim":
            other = rest.partition(".")[0]
            assert other == part or ROW[other] < ROW[part], f"{path}:{line}: {part} must not import {other}"
        elif top in ONLY_IN:
            assert part in ONLY_IN[top], f"{path}:{line}: {part} must not import {top}"


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_scenario_knows_no_driver(path):
    allowed = {"mmsim.scenario", "mmsim.syscalls", "mmsim.verdict"}
    for line, name in imports(path):
        assert name.partition(".")[0] != "mmsim" or name in allowed, f"{path}:{line}: a scenario must not import {name}"


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if part_of(path) != "cli"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_only_the_command_line_prints(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"print", "sys.stdout.write", "sys.stderr.write"}, f"{path}:{node.lineno}: {called}"


def test_the_kernel_names_no_strategy():
    strategies = {path.stem for path in (ROOT / "mmsim" / "strategies").glob("*.py")} - {"__init__"}
    for path in (ROOT / "mmsim" / "kernel").glob("*.py"):
        texts = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        assert not texts & strategies, f"{path} names {texts & strategies}"


def test_every_part_has_its_row():
    assert {part_of(path) for path in SOURCES} - {"__init__"} <= set(ROW)
