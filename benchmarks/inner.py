"""The inner loop of the unreduced search alone, on tables already learnt, on this Python and on PyPy.

`python -m benchmarks.inner N STRATEGY` measures in this process, and prints JSON.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.shell import ROOT, SCENARIO, run, table


def inner(n: int, strategy_name: str) -> dict[str, Any]:
    """Throughput of the unreduced search on tables already learnt, and bytes for each stored state; run in a child."""
    from mmsim import strategies
    from mmsim.check.judge import Test
    from mmsim.check.run import tables_of
    from mmsim.engine.search import explore
    from mmsim.kernel.releases import V3_17

    spec = importlib.util.spec_from_file_location("users_and_a_sealer", SCENARIO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tables, properties = tables_of(Test("bench", module.make(n), getattr(strategies, strategy_name), V3_17))
    explore(tables, resting=properties.resting)
    best = 0.0
    found = None
    for _ in range(3):
        del found
        before = time.process_time()
        found = explore(tables, resting=properties.resting)
        best = max(best, found.transitions / (time.process_time() - before))
    assert found is not None
    told: dict[str, Any] = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "states": found.states,
        "transitions": found.transitions,
        "rate": best,
        "state_bytes": len(tables.initial()),
        "learnt": all(automaton.merging for automaton in tables.automata),
    }
    del found
    try:
        import tracemalloc
    except ImportError:
        return told
    tracemalloc.start()
    found = explore(tables, resting=properties.resting)
    told["bytes"] = tracemalloc.get_traced_memory()[0] / found.states
    told["peak_bytes"] = tracemalloc.get_traced_memory()[1] / found.states
    return told


def pypy() -> tuple[str | None, str]:
    """A PyPy that speaks 3.11, or a sentence."""
    found = os.environ.get("PYPY") or shutil.which("pypy3.11") or shutil.which("pypy3")
    if found is None:
        return None, "PyPy: not found (pypy3 on PATH, or PYPY=/path/to/pypy3); left out."
    asked = subprocess.run(
        [found, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=False
    )
    speaks = tuple(int(part) for part in asked.stdout.split())
    if speaks < (3, 11):
        return None, f"PyPy: {found} speaks Python {'.'.join(map(str, speaks)) or '?'}, and mmsim needs 3.11; left out."
    return found, ""


def pure_attrs(folder: Path) -> Path:
    """A folder from which another Python imports attrs, and nothing compiled for this one."""
    import attr

    where = folder / "pure"
    where.mkdir(exist_ok=True)
    packages = Path(attr.__file__).parent.parent
    for name in ("attr", "attrs"):
        if not (where / name).exists():
            (where / name).symlink_to(packages / name)
    return where


def inner_loops(folder: Path) -> list[dict[str, Any] | str]:
    """On this Python and, where there is one, on PyPy."""
    told: list[dict[str, Any] | str] = []
    other, why_not = pypy()
    for python in [sys.executable, *([other] if other else [])]:
        path = str(ROOT) if python == sys.executable else f"{ROOT}{os.pathsep}{pure_attrs(folder)}"
        command = [python, "-m", "benchmarks.inner", "2", "wait_for_pins"]
        timed = run(command, cwd=folder, limit=240, path=path)
        try:
            told.append(json.loads(timed.out))
        except ValueError:
            told.append(f"{python}: {(timed.err.strip().splitlines() or ['no answer'])[-1]}")
    if why_not:
        told.append(why_not)
    return told


def print_inner(told: list[dict[str, Any] | str]) -> None:
    print(
        "3. The inner loop of the unreduced search, N = 2, wait_for_pins, tables already learnt, one core, CPU time\n"
    )
    rows = []
    for one in told:
        if isinstance(one, str):
            continue
        stored = f"{one['bytes']:.0f}" if "bytes" in one else "-"
        peak = f"{one['peak_bytes']:.0f}" if "peak_bytes" in one else "-"
        rows.append(
            (
                one["python"],
                f"{one['states']:,}",
                f"{one['transitions']:,}",
                f"{one['rate'] / 1e6:.2f} M/s",
                f"{one['state_bytes']}",
                stored,
                peak,
            )
        )
    head = ("Python", "states", "transitions", "transitions", "bytes packed", "bytes stored", "at the peak")
    table(head, rows)
    for one in told:
        if isinstance(one, str):
            print(f"  {one}")
        elif not one["learnt"]:
            print(f"  {one['python']}: local states cannot be told there; histories stay apart, hence more states.")
    print()


def lost_inside(one: dict[str, Any]) -> Iterator[str]:
    if one["rate"] < 1.5e6:
        yield f"{one['python']}: {one['rate'] / 1e6:.2f} M transitions/s in the inner loop; the goal is 1.5."
    if one.get("bytes", 0) > 300:
        yield f"{one['python']}: {one['bytes']:.0f} bytes for each stored state; the goal is 300."


if __name__ == "__main__":
    print(json.dumps(inner(int(sys.argv[1]), sys.argv[2])))
