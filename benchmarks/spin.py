"""SPIN's verifier on benchmarks/memfd_seal.pml."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks.shell import HERE, Count, Timed, run

MODEL = HERE / "memfd_seal.pml"
SPIN_VERDICT = {True: "Violated", False: "Holds"}

UNMERGED = ("-o2", "-o3")  # neither statements merged nor dead variables forgotten
PLAIN = ("-DNOREDUCE",)
BFS = ("-DBFS",)
GCC = ("-O2", "-DSAFETY", "-DNOCLAIM", "-DMEMLIM=6000")


def spin_reason() -> str:
    """Why SPIN cannot be asked; "" if it can."""
    missing = [program for program in ("spin", "gcc") if shutil.which(program) is None]
    return f"{' and '.join(missing)} not found (apt-get install spin gcc): SPIN is left out" if missing else ""


def pan_made(
    n: int, strategy: str, folder: Path, spin_options: Iterable[str] = (), gcc_options: Iterable[str] = ()
) -> tuple[float, Path]:
    """spin -a and gcc: how long they took, and the folder with the verifier."""
    where = Path(tempfile.mkdtemp(dir=folder))
    generate = ["spin", "-a", *spin_options, f"-DN={n}", f"-D{strategy.upper()}", str(MODEL)]
    made = run(generate, cwd=where, limit=60)
    compiled = run(["gcc", *GCC, *gcc_options, "-o", "pan", "pan.c"], cwd=where, limit=120)
    if not (where / "pan").exists():
        sys.exit(f"SPIN's verifier cannot be made: {made.out} {made.err} {compiled.err}")
    return made.seconds + compiled.seconds, where


def pan(where: Path, seconds: float, *options: str) -> tuple[Timed, Count]:
    """Run the verifier."""
    minutes = max(1, round(seconds / 60))
    timed = run(["./pan", "-m1000000", f"-Q{minutes}", *options], cwd=where, limit=seconds + 60)
    told = {
        what: int(float(match[1]))
        for what, pattern in (
            ("states", r"([\d.e+]+) states, stored"),
            ("transitions", r"([\d.e+]+) transitions"),
            ("errors", r"errors: (\d+)"),
        )
        if (match := re.search(pattern, timed.out))
    }
    deep = re.search(r"at depth (\d+)\)", timed.out)
    if "states" not in told:
        return timed, Count("no answer")
    stopped = re.search(r"Search not completed|Interrupted|out of memory|max search depth", timed.out, re.IGNORECASE)
    bound = stopped[0] if stopped and not told.get("errors") else ""
    return timed, Count(
        "Undecided" if bound else SPIN_VERDICT[bool(told.get("errors"))],
        told["states"],
        told.get("transitions"),
        int(deep[1]) + 1 if deep else None,
        bound,
        timed.seconds,
    )


def spin_end_to_end(n: int, strategy: str, folder: Path, seconds: float) -> tuple[float, float, Count]:
    """What SPIN's user waits for, of which the verifier alone, and what it said."""
    making, where = pan_made(n, strategy, folder, gcc_options=BFS if strategy == "sealing_v2" else ())
    timed, count = pan(where, seconds)
    shutil.rmtree(where)
    return making + timed.seconds, timed.seconds, count
