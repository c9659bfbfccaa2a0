"""mmsim and SPIN side by side on one scenario, the inner loop alone, and every scenario of the catalogue.

    make bench                  everything, some minutes
    make bench ARGS=--quick     N = 1 and 2 only, under a minute

It measures and prints; nothing here passes or fails.  See benchmarks/README.md for how to read it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SCENARIO = ROOT / "scenarios" / "users_and_a_sealer.py"
MODEL = HERE / "memfd_seal.pml"
STRATEGIES = {"sealing_v2": "first counterexample", "wait_for_pins": "proof"}
SPIN_VERDICT = {True: "Violated", False: "Holds"}

UNMERGED = ("-o2", "-o3")  # neither statements merged nor dead variables forgotten
PLAIN = ("-DNOREDUCE",)
BFS = ("-DBFS",)
GCC = ("-O2", "-DSAFETY", "-DNOCLAIM", "-DMEMLIM=6000")


class Budget(NamedTuple):
    """How much to measure."""

    sizes: tuple[int, ...]
    repeats: int
    check_seconds: float  # for one mmsim check
    whole_seconds: float  # for one search without any reduction
    scenario_seconds: float  # for one scenario of the catalogue
    catalogue_seconds: float  # for all of them


FULL = Budget((1, 2, 3), 5, 100, 300, 20, 150)
QUICK = Budget((1, 2), 2, 5, 5, 1.5, 12)


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


class Pair(NamedTuple):
    """mmsim and SPIN on the same question."""

    n: int
    strategy: str
    mmsim: Count
    mmsim_seconds: float | None
    spin: Count | None
    spin_seconds: float | None
    pan_seconds: float | None


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


# ---- mmsim


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


# ---- SPIN


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


# ---- the tables


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Columns aligned: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in (head, *rows):
        first, *rest = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)]
        print("  " + "  ".join(cells).rstrip())


def seconds_text(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f} s"


def ratio_text(pair: Pair) -> str:
    """How many times as long SPIN takes; below 1 SPIN wins."""
    if pair.mmsim_seconds is None or pair.spin_seconds is None:
        return "-"
    # a search cut off would have taken longer
    cut = (bool(pair.mmsim.bound), bool(pair.spin and pair.spin.bound))
    least = {(True, False): "<= ", (False, True): ">= "}.get(cut, "")
    return f"{least}{pair.spin_seconds / pair.mmsim_seconds:.2f}"


def end_to_end(budget: Budget, folder: Path, *, spin: bool) -> list[Pair]:
    """Alternating runs, medians."""
    pairs = []
    for n in budget.sizes:
        file = str(scenario_for(n, folder))
        for strategy in STRATEGIES:
            mine: list[float] = []
            theirs: list[tuple[float, float]] = []
            count, spin_count = Count(), None
            for _ in range(budget.repeats):
                first = ["--first"] if strategy == "sealing_v2" else []
                timed, count = mmsim_check(file, strategy, folder, budget.check_seconds, *first)
                if count.states is not None:
                    mine.append(timed.seconds)
                if spin:
                    total, alone, spin_count = spin_end_to_end(n, strategy, folder, 120)
                    theirs.append((total, alone))
                if timed.seconds > 10:
                    break  # once is enough to see who wins
            if strategy == "sealing_v2":  # the first counterexample was timed; the whole space is counted
                _, whole = mmsim_check(file, strategy, folder, budget.check_seconds)
                count = whole._replace(length=count.length)
            pairs.append(
                Pair(
                    n,
                    strategy,
                    count,
                    median(mine),
                    spin_count,
                    median(total for total, _ in theirs),
                    median(alone for _, alone in theirs),
                )
            )
    return pairs


def print_end_to_end(pairs: list[Pair]) -> None:
    print("1. End to end from the shell, medians of alternating runs (SPIN: spin -a, gcc -O2 and pan)\n")
    head = ("N  strategy", "mmsim says", "mmsim", "SPIN says", "SPIN", "pan alone", "SPIN/mmsim")
    rows = []
    for pair in pairs:
        verdict = "-" if pair.spin is None else pair.spin.verdict
        rows.append(
            (
                f"{pair.n}  {pair.strategy}, {STRATEGIES[pair.strategy]}",
                pair.mmsim.verdict,
                seconds_text(pair.mmsim_seconds),
                verdict,
                seconds_text(pair.spin_seconds),
                seconds_text(pair.pan_seconds),
                ratio_text(pair),
            )
        )
    table(head, rows)
    print("\n  SPIN/mmsim above 1: mmsim answers first.  An Undecided row is a search cut off at its time limit.\n")


class Tested(NamedTuple):
    """One scenario under one strategy, from the shell."""

    seconds: float
    scenario: str
    strategy: str
    said: Count


class Space(NamedTuple):
    """One size of one strategy's state space, counted four ways."""

    n: int
    strategy: str
    reduced: Count
    whole: Count
    spin_reduced: Count | None
    spin_whole: Count | None


def spaces(budget: Budget, folder: Path, pairs: list[Pair], *, spin: bool) -> list[Space]:
    """States and transitions, reduced and not, of both."""
    found = []
    for pair in pairs:
        if pair.n > 2 and pair.strategy != "wait_for_pins":
            continue  # minutes, and nothing in it that the proof does not show
        file = str(scenario_for(pair.n, folder))
        _, whole = mmsim_check(file, pair.strategy, folder, budget.whole_seconds, "--unreduced")
        spin_reduced = spin_whole = None
        if spin:
            _, where = pan_made(pair.n, pair.strategy, folder)
            _, spin_reduced = pan(where, budget.whole_seconds, "-c0")
            big = ("-DCOLLAPSE",) if pair.n > 2 else ()
            _, where = pan_made(pair.n, pair.strategy, folder, UNMERGED, (*PLAIN, *big))
            _, spin_whole = pan(where, 3 * budget.whole_seconds, "-c0")
        found.append(Space(pair.n, pair.strategy, pair.mmsim, whole, spin_reduced, spin_whole))
    return found


def print_spaces(found: list[Space]) -> None:
    print("2. States / transitions of the whole space (SPIN: every error counted, not only the first)\n")
    head = ("N  strategy", "mmsim reduced", "SPIN reduced", "mmsim unreduced", "SPIN unreduced", "unreduced equal?")
    rows = []
    for space in found:
        spin_reduced = "-" if space.spin_reduced is None else space.spin_reduced.text()
        spin_whole = "-" if space.spin_whole is None else space.spin_whole.text()
        rows.append(
            (
                f"{space.n}  {space.strategy}",
                space.reduced.text(),
                spin_reduced,
                space.whole.text(),
                spin_whole,
                equal_text(space.whole, space.spin_whole),
            )
        )
    table(head, rows)
    print(
        "\n  >= where a time limit ended the search.  benchmarks/README.md says what makes the counts equal or not.\n"
    )


def equal_text(mine: Count, theirs: Count | None) -> str:
    if theirs is None or None in (mine.states, theirs.states) or mine.bound or theirs.bound:
        return "-"
    if mine.states == theirs.states:
        # pan counts the initial state as a transition
        return "to the state" + (" and transition" if mine.transitions == (theirs.transitions or 0) - 1 else "")
    assert mine.states is not None
    assert theirs.states is not None
    return f"no, {mine.states / theirs.states:.2f} times SPIN's"


def print_agreement(pairs: list[Pair], folder: Path) -> None:
    """Verdicts, and the length of the shortest counterexample, counted in unmerged steps."""
    decided = [pair for pair in pairs if pair.spin and not pair.mmsim.bound and not pair.spin.bound]
    same = sum(pair.spin is not None and pair.mmsim.verdict == pair.spin.verdict for pair in decided)
    print(f"  Verdicts agree in {same} of the {len(decided)} pairs that both decided.")
    for pair in pairs:
        if pair.strategy != "sealing_v2" or pair.mmsim.length is None:
            continue
        _, where = pan_made(pair.n, pair.strategy, folder, UNMERGED, (*PLAIN, *BFS))
        _, count = pan(where, 120)
        lengths = f"mmsim {pair.mmsim.length} steps, SPIN {count.length} (unmerged, BFS)"
        print(f"  Shortest counterexample, N = {pair.n}: {lengths}.")
    print()


# ---- the inner loop


def inner(n: int, strategy_name: str) -> dict[str, Any]:
    """Throughput of the unreduced search on tables already learnt, and bytes for each stored state; run in a child."""
    import importlib.util

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
        command = [python, str(HERE / "bench.py"), "--inner", "2", "wait_for_pins"]
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


# ---- the catalogue


def catalogue(budget: Budget, folder: Path) -> tuple[list[Tested], int]:
    """(seconds, scenario, strategy, what it said) of each, and how many there was no time for."""
    from mmsim.strategies import STRATEGIES as ALL

    files = [file for file in sorted((ROOT / "scenarios").glob("*.py")) if file.stem != "__init__"]
    tests = [(file.stem, strategy.name) for file in files for strategy in ALL]
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


# ---- the honest paragraph


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


def lost_end_to_end(pair: Pair) -> Iterator[str]:
    name = f"N = {pair.n}, {pair.strategy}"
    if pair.mmsim_seconds is None:
        yield f"{name}: mmsim gave no answer: {pair.mmsim.verdict}."
        return
    if pair.mmsim.bound and pair.spin and not pair.spin.bound:
        gave_up = f"mmsim had not decided after {pair.mmsim_seconds:.0f} s"
        yield f"{name}: {gave_up}, SPIN answers in {seconds_text(pair.spin_seconds)}."
    elif pair.spin_seconds is not None and pair.mmsim_seconds > pair.spin_seconds:
        yield f"{name}: SPIN is {pair.mmsim_seconds / pair.spin_seconds:.1f} times faster end to end."
    if pair.pan_seconds and pair.pan_seconds < pair.mmsim_seconds:
        yield f"{name}: pan alone, once compiled, is {pair.mmsim_seconds / pair.pan_seconds:,.1f} times faster."


def lost_unreduced(space: Space) -> Iterator[str]:
    mine, theirs = space.whole, space.spin_whole
    if not (theirs and theirs.transitions and mine.transitions and mine.seconds > 1 and theirs.seconds > 0):
        return
    ours, pans = mine.transitions / mine.seconds, theirs.transitions / theirs.seconds
    yield (
        f"N = {space.n}, {space.strategy}, unreduced: pan makes {pans / 1e6:.1f} M transitions/s, "
        f"mmsim {ours / 1e6:.2f} M/s from the shell, {pans / ours:.1f} times fewer."
    )


def lost_inside(one: dict[str, Any]) -> Iterator[str]:
    if one["rate"] < 1.5e6:
        yield f"{one['python']}: {one['rate'] / 1e6:.2f} M transitions/s in the inner loop; the goal is 1.5."
    if one.get("bytes", 0) > 300:
        yield f"{one['python']}: {one['bytes']:.0f} bytes for each stored state; the goal is 300."


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
    arguments.add_argument("--inner", nargs=2, metavar=("N", "STRATEGY"), help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.inner:
        print(json.dumps(inner(int(chosen.inner[0]), chosen.inner[1])))
        return 0
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
