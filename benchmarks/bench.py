"""mmsim and SPIN side by side on one scenario, the inner loop alone, and the catalogue from the shell.

    make bench                  everything, about a quarter of an hour
    make bench ARGS=--quick     N = 1 and 2 only, about a minute

It measures and prints; nothing here passes or fails.  See benchmarks/README.md for how to read it.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from benchmarks.against_spin import (
    Budget,
    Pair,
    Space,
    end_to_end,
    lost_end_to_end,
    lost_unreduced,
    print_agreement,
    print_end_to_end,
    print_spaces,
    spaces,
)
from benchmarks.inner import inner_loops, lost_inside, print_inner
from benchmarks.shell import ROOT, Count, median, mmsim_check, seconds_text, table
from benchmarks.spin import spin_reason

FULL = Budget((1, 2, 3), 5, 100, 300, 20, 150)
QUICK = Budget((1, 2), 2, 5, 5, 1.5, 12)


class Tested(NamedTuple):
    """One scenario under one strategy, from the shell."""

    seconds: float
    scenario: str
    strategy: str
    said: Count


def catalogue(budget: Budget, folder: Path) -> tuple[list[Tested], int]:
    """(seconds, scenario, strategy, what it said) of each, and how many there was no time for."""
    from mmsim.strategies import STRATEGIES as ALL

    files = [file for file in sorted((ROOT / "scenarios").glob("*.py")) if file.stem != "__init__"]
    tests = [(file.stem, strategy.name) for file in files for strategy in ALL]
    Random(1).shuffle(tests)  # there is no time for all of them, and the alphabet is no sample
    told: list[Tested] = []
    started = time.perf_counter()
    for number, (scenario, strategy) in enumerate(tests):
        if time.perf_counter() - started > budget.catalogue_seconds:
            return told, len(tests) - number
        timed, count = mmsim_check(scenario, strategy, folder, budget.scenario_seconds)
        told.append(Tested(timed.seconds, scenario, strategy, count))
    return told, 0


def print_catalogue(told: list[Tested], left: int) -> None:
    print("4. Every scenario of the catalogue under every strategy, from the shell (goal: 0.6 s each)\n")
    slowest = sorted(told, reverse=True, key=lambda one: one.seconds)
    rows = [
        (f"{one.scenario} {one.strategy}", seconds_text(one.seconds), one.said.verdict, one.said.text())
        for one in slowest[:8]
    ]
    table(("slowest", "wall time", "verdict", "states / transitions"), rows)
    over = sum(one.seconds > 0.6 for one in told)
    typical = median(one.seconds for one in told)
    print(f"\n  {len(told)} tests, median {seconds_text(typical)}, {over} of them above 0.6 s.", end="")
    print(f"  {left} more were not measured, for the time was up.\n" if left else "\n")


def where_we_lose(
    pairs: list[Pair], found: list[Space], told: list[dict[str, Any] | str], tests: list[Tested]
) -> list[str]:
    """Sentences made from the numbers above."""
    lines = [line for pair in pairs for line in lost_end_to_end(pair)]
    lines += [line for space in found for line in lost_unreduced(space)]
    lines += [line for one in told if not isinstance(one, str) for line in lost_inside(one)]
    over = [one for one in tests if one.seconds > 0.6]
    if over:
        worst = max(over, key=lambda one: one.seconds)
        slowest = f"the slowest, {worst.scenario} {worst.strategy}, {worst.seconds:.1f} s"
        lines.append(f"{len(over)} of {len(tests)} catalogue tests take longer than 0.6 s; {slowest}.")
    return lines


def machine(*, spin: bool) -> str:
    """One line about where this was measured."""
    models = [line.partition(":")[2].strip() for line in cpuinfo() if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    told = [f"{platform.python_implementation()} {platform.python_version()}", f"{os.cpu_count()} x {model}"]
    told.append(f"load {os.getloadavg()[0]:.1f} at the start")
    if spin:
        for command in (["spin", "-V"], ["gcc", "-dumpfullversion"]):
            version = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("--")[0].strip()
            told.append(version if command[0] == "spin" else f"gcc {version}")
    return "; ".join(told)


def cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def main() -> int:
    arguments = argparse.ArgumentParser(prog="make bench", description="mmsim and SPIN side by side.")
    arguments.add_argument("--quick", action="store_true", help="N = 1 and 2 only, under a minute")
    arguments.add_argument("--repeats", type=int, help="how many alternating runs to take the median of")
    chosen = arguments.parse_args()
    budget = QUICK if chosen.quick else FULL
    if chosen.repeats:
        budget = budget._replace(repeats=chosen.repeats)
    missing = spin_reason()
    spin = not missing
    with tempfile.TemporaryDirectory(prefix="mmsim-bench-") as name:
        folder = Path(name)
        print(f"mmsim bench{' --quick' if chosen.quick else ''}: {machine(spin=spin)}\n")
        if missing:
            print(f"{missing}.\n")
        sys.stdout.flush()
        pairs = end_to_end(budget, folder, spin=spin)
        print_end_to_end(pairs)
        sys.stdout.flush()
        found = spaces(budget, folder, pairs, spin=spin)
        print_spaces(found)
        if spin:
            print_agreement(pairs, folder)
        sys.stdout.flush()
        told = inner_loops(folder)
        print_inner(told)
        sys.stdout.flush()
        tests, left = catalogue(budget, folder)
        print_catalogue(tests, left)
        print("5. Where we lose\n")
        lines = where_we_lose(pairs, found, told, tests)
        print("\n".join(f"  - {line}" for line in lines) or "  Nowhere, by the numbers above.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
