"""Every way of searching the catalogue's smaller scenarios comes to the same verdict, and its schedules replay."""

import functools

import pytest

from mmsim.catalogue import find
from mmsim.check import Bounds, Test, check, execute, parse_schedule, sample
from mmsim.errors import UserError
from mmsim.kernel.releases import V3_17
from mmsim.strategies import STRATEGIES
from mmsim.verdict import Holds, Move, Schedule, Undecided, Violated

SMALL = (
    "dio_completes_after_seal", "dio_from_another_process", "dio_into_private_mapping", "dio_races_munmap",
    "dio_then_exit", "dio_write_out", "fork_shares_the_mapping", "nothing_races", "seal_races_mmap",
    "seal_write_and_shrink", "truncate_under_write_seal", "two_sealers", "write_races_seal",
)  # fmt: skip
AUDITED = ("dio_completes_after_seal", "dio_write_out", "seal_races_mmap", "seal_write_and_shrink", "two_sealers")

ALL = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)


@functools.cache
def loaded(name, strategy):
    return Test(name, find(name).scenario, strategy, V3_17)


@functools.cache
def verdict_of(name, strategy, **how):
    return check(loaded(name, strategy), **how)


@ALL
@pytest.mark.parametrize("name", SMALL)
def test_reduced_and_unreduced_agree(name, strategy):
    reduced, whole = verdict_of(name, strategy, reduce=True), verdict_of(name, strategy, reduce=False)
    assert type(reduced) is type(whole)
    assert reduced.outcomes == whole.outcomes
    assert reduced.coverage.how == whole.coverage.how == "exhaustive"
    assert reduced.coverage.states <= whole.coverage.states


@ALL
@pytest.mark.parametrize("name", AUDITED)
def test_the_audit_of_local_states_agrees(name, strategy):
    merged = verdict_of(name, strategy, reduce=False)
    apart = verdict_of(name, strategy, reduce=False, merge=False)
    assert type(merged) is type(apart)
    assert merged.outcomes == apart.outcomes
    assert merged.coverage.states <= apart.coverage.states
    assert verdict_of(name, strategy, reduce=True, merge=False).outcomes == apart.outcomes


@ALL
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("reduce", [True, False], ids=["reduced", "unreduced"])
def test_every_schedule_replays_to_the_property_it_breaks(name, strategy, reduce):
    verdict = verdict_of(name, strategy, reduce=reduce)
    if not isinstance(verdict, Violated):
        return
    violation = verdict.violation
    assert violation.shortest
    schedule = violation.schedule
    assert parse_schedule(str(schedule)) == schedule
    execution = execute(loaded(name, strategy), schedule)
    assert len(execution.steps) == len(schedule.moves)
    if violation.property not in ("no lock inversion", "no lock is taken unsafely for interrupts"):
        assert execution.violation == (violation.property, violation.detail)
        shorter = execute(loaded(name, strategy), Schedule(schedule.moves[:-1]))
        assert shorter.violation is None


@functools.cache
def seed_race(strategy_number=0):
    return loaded("dio_completes_after_seal", STRATEGIES[strategy_number])


def violated():
    verdict = verdict_of("dio_completes_after_seal", STRATEGIES[0])
    assert isinstance(verdict, Violated)
    return verdict.violation.schedule


@pytest.mark.parametrize("walker", ["uniform", "pct2", "pos"])
def test_the_first_part_of_a_schedule_can_be_continued(walker):
    first = Schedule(violated().moves[:5])
    one, again = (execute(seed_race(), first, then=walker, seed=7) for _ in range(2))
    # each execution boots a machine of its own, so handles are compared by their names
    told, told_again = ([f"{s.thread} {s.word} {s.cell} {s.new!r}" for s in run.steps] for run in (one, again))
    assert told == told_again
    assert [step.thread for step in one.steps[:5]] == [move.thread for move in first.moves]
    assert len(one.steps) > 5


def test_a_schedule_that_does_not_fit():
    with pytest.raises(UserError, match="step 1: there is no thread 'nobody'; there are reader, sealer"):
        execute(seed_race(), parse_schedule("nobody1"))
    with pytest.raises(UserError, match=r"step 1: reader has 1 alternative there, numbered from 0"):
        execute(seed_race(), Schedule((Move("reader", 3),)))
    with pytest.raises(UserError, match=r"step \d+: reader (has ended|waits in .*); able to move: "):
        execute(seed_race(), parse_schedule("reader9999"))
    with pytest.raises(UserError, match="the execution already ended at step"):
        execute(seed_race(), Schedule((*violated().moves, violated().moves[0])))


def test_samples_from_a_seed():
    one, again = (sample(seed_race(), walker="pct3", runs=300, seed=1) for _ in range(2))
    assert repr(one) == repr(again)
    assert isinstance(one, Violated)
    assert not one.violation.shortest
    replayed = execute(seed_race(), one.violation.schedule)
    assert replayed.violation == (one.violation.property, one.violation.detail)
    whole = verdict_of("dio_completes_after_seal", STRATEGIES[1], reduce=False)
    assert isinstance(whole, Holds)
    sampled = sample(seed_race(1), walker="pos", runs=60, seed=1)
    assert isinstance(sampled, Undecided)
    assert set(sampled.outcomes) <= set(whole.outcomes)
    assert sampled.reason == "sampled (60 pos walks)"


def test_by_default_whichever_search_suits():
    whole = verdict_of("dio_completes_after_seal", STRATEGIES[1], reduce=False)
    assert verdict_of("dio_completes_after_seal", STRATEGIES[1]).outcomes == whole.outcomes
    many = loaded("undecided_seal_races_mmap", STRATEGIES[1])  # more than the unreduced search is tried on
    assert check(many).outcomes == check(many, reduce=False).outcomes


def test_bounds_give_undecided():
    test = loaded("undecided_seal_races_mmap", STRATEGIES[1])
    verdict = check(test, bounds=Bounds(max_states=2500), reduce=False)
    assert isinstance(verdict, Undecided)
    assert (verdict.reason, verdict.coverage.how) == ("2500 states", "bounded (2500 states)")
    assert verdict.coverage.waiting > 0

    def interrupt(_progress):
        raise KeyboardInterrupt

    ticks = iter(range(10**6))
    verdict = check(test, reduce=False, clock=lambda: float(next(ticks)), progress=interrupt)
    assert isinstance(verdict, Undecided)
    assert verdict.reason == "interrupted"
