"""Commands run and timed as somebody who waits at a shell would, what `mmsim check` said, and columns of text."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SCENARIO = ROOT / "scenarios" / "users_and_a_sealer.py"


class Timed(NamedTuple):
    """One command from start to end."""

    seconds: float
    out: str
    err: str
    ended: bool  # False: it ran into the time limit


class Count(NamedTuple):
    """How far a search went."""

    verdict: str = "-"
    states: int | None = None
    transitions: int | None = None
    length: int | None = None  # steps of the counterexample
    bound: str = ""  # what stopped it; "" if it is complete
    seconds: float = 0.0

    def text(self) -> str:
        if self.states is None:
            return self.verdict
        least = ">= " if self.bound else ""
        return f"{least}{self.states:,} / {least}{self.transitions or 0:,}"


def run(command: list[str], *, cwd: Path, limit: float, path: str = str(ROOT)) -> Timed:
    """Run a command; time it as somebody who waits for it would."""
    started = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=limit, check=False, env=environment(path)
        )
    except subprocess.TimeoutExpired:
        return Timed(time.perf_counter() - started, "", f"no answer within {limit:.0f} s", ended=False)
    return Timed(time.perf_counter() - started, done.stdout, done.stderr, ended=True)


def environment(path: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}


def median(values: Iterable[float]) -> float | None:
    known = list(values)
    return statistics.median(known) if known else None


def scenario_for(n: int, folder: Path) -> Path:
    """The scenario with `n` users, as a file of its own."""
    text, found = re.subn(
        r"^scenario = make\(\d+\)$", f"scenario = make({n})", SCENARIO.read_text(), flags=re.MULTILINE
    )
    if not found:
        sys.exit(f"{SCENARIO} no longer ends with `scenario = make(...)`: tell benchmarks/bench.py how to set n")
    file = folder / f"users_{n}.py"
    file.write_text(text)
    return file


def mmsim_check(file: str, strategy: str, folder: Path, seconds: float, *options: str) -> tuple[Timed, Count]:
    """`mmsim check` from the shell."""
    command = [sys.executable, "-m", "mmsim", "check", file, "--strategy", strategy, "--format", "json"]
    timed = run([*command, "--max-seconds", f"{seconds:g}", *options], cwd=folder, limit=seconds + 60)
    try:
        result = json.loads(timed.out)["results"][0]
        coverage, violation = result["coverage"], result["violation"]
        return timed, Count(
            result["verdict"],
            coverage["states"],
            coverage["transitions"],
            steps(violation["schedule"]) if violation and violation.get("shortest", True) else None,
            result.get("reason") or "",
            timed.seconds,
        )
    except (ValueError, LookupError, TypeError):
        complaints = timed.err.strip().splitlines() or ["no answer"]
        complaint = next((line for line in complaints if line.startswith("mmsim: ")), complaints[-1])
        return timed, Count(f"failed: {complaint.removeprefix('mmsim: ')[:30]}")


def steps(schedule: Any) -> int | None:
    """How many steps a schedule has, as text (`user58 sealer6`) or as a list of moves."""
    if isinstance(schedule, str):
        runs = [re.fullmatch(r".*?(?:\D(\d+))?", word) for word in schedule.split()]
        return sum(int(one[1]) if one and one[1] else 1 for one in runs)
    return len(schedule) if isinstance(schedule, list) else None


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Columns aligned: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in (head, *rows):
        first, *rest = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)]
        print("  " + "  ".join(cells).rstrip())


def seconds_text(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f} s"
