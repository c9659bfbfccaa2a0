"""mmsim and SPIN on the same question: how long each takes, and how many states each stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.shell import Count, median, mmsim_check, scenario_for, seconds_text, table
from benchmarks.spin import BFS, PLAIN, UNMERGED, pan, pan_made, spin_end_to_end

STRATEGIES = {"sealing_v2": "first counterexample", "wait_for_pins": "proof"}


class Budget(NamedTuple):
    """How much to measure."""

    sizes: tuple[int, ...]
    repeats: int
    check_seconds: float  # for one mmsim check
    whole_seconds: float  # for one search without any reduction
    scenario_seconds: float  # for one scenario of the catalogue
    catalogue_seconds: float  # for all of them


class Pair(NamedTuple):
    """mmsim and SPIN on the same question."""

    n: int
    strategy: str
    mmsim: Count
    mmsim_seconds: float | None
    spin: Count | None
    spin_seconds: float | None
    pan_seconds: float | None


class Space(NamedTuple):
    """One size of one strategy's state space, counted four ways."""

    n: int
    strategy: str
    reduced: Count
    whole: Count
    spin_reduced: Count | None
    spin_whole: Count | None


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
