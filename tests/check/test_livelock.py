"""A thread that spins for ever: what check, replay, the walks and the reports say of it."""

from __future__ import annotations

import pytest

from mmsim.batch import Options, judged_test
from mmsim.catalogue import find
from mmsim.check import Bounds, Test, check, execute, sample
from mmsim.engine.progress import NO_LIVELOCK
from mmsim.kernel.releases import V3_17, release_named
from mmsim.report import json_, text
from mmsim.scenario import Process, Scenario
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.strategies.writable_user_pages import writable_user_pages
from mmsim.syscalls import MAP_SHARED, PAGE_SIZE, PROT_READ, PROT_WRITE, Device, fill
from mmsim.verdict import Holds, Move, Schedule, Undecided, Violated

DISK = Device("disk")
WINDOW = 0x10000


async def mapped(sys):
    fd = await sys.memfd_create("flag")
    await sys.ftruncate(fd, PAGE_SIZE)
    await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.store(WINDOW, b"no  ")


async def spinner(sys, _):
    while True:
        if await sys.load(WINDOW, 4) == b"late":
            return


async def says_it(sys, _):
    await sys.store(WINDOW, b"late")


async def takes_it_back(sys, _):
    await sys.store(WINDOW, b"late")
    await sys.store(WINDOW, b"no  ")


async def reads(sys, _):
    await sys.submit_direct_read(DISK, WINDOW, fill(b"late"))


def judged(*threads, **how):
    devices = (DISK,) if reads in threads else ()
    scenario = Scenario(setup=mapped, threads=threads, devices=devices)
    test = Test("spins", scenario, wait_for_pins, V3_17)
    return test, check(test, **how)


WAYS = pytest.mark.parametrize("how", [{"reduce": False}, {"reduce": True}, {"first": True}, {}], ids=str)


@WAYS
def test_nobody_ever_says_it(how):
    _, verdict = judged(spinner, **how)
    assert isinstance(verdict, Violated)
    assert verdict.violation.property == NO_LIVELOCK
    assert verdict.violation.detail.startswith("spinner spins for ever in instruction() [memory.py:")
    assert ", called from spinner() [test_livelock.py:" in verdict.violation.detail
    assert verdict.coverage.how == "exhaustive"


@WAYS
def test_somebody_says_it(how):
    assert isinstance(judged(spinner, says_it, **how)[1], Holds)


@WAYS
def test_a_device_may_say_it(how):
    """It may stay silent for ever as well, but that is no livelock."""
    assert isinstance(judged(spinner, reads, **how)[1], Holds)


@WAYS
def test_a_schedule_leads_to_the_loop_and_its_replay_once_round(how):
    test, verdict = judged(spinner, takes_it_back, **how)
    assert isinstance(verdict, Violated)
    violation = verdict.violation
    assert violation.shortest is not how.get("reduce", False)
    execution = execute(test, violation.schedule)
    assert execution.violation == (violation.property, violation.detail)
    assert len(execution.steps) >= len(violation.schedule.moves) + execution.turn
    turn = execution.steps[-execution.turn :]
    assert {step.thread for step in turn} == {"spinner"}
    twice = execute(test, Schedule(tuple(Move(step.thread, step.alternative) for step in execution.steps)))
    assert len(twice.steps) == len(execution.steps) + twice.turn
    assert [step.frames for step in twice.steps[-twice.turn :]] == [step.frames for step in turn]


def test_a_schedule_that_can_still_go_well_breaks_nothing():
    test, verdict = judged(spinner, takes_it_back)
    for length in range(4):
        assert execute(test, Schedule(verdict.violation.schedule.moves[:length])).violation is None


def test_a_walk_that_never_comes_to_rest():
    test, _ = judged(spinner, takes_it_back)
    verdict = sample(test, walker="uniform", runs=20, seed=1)
    assert isinstance(verdict, Violated)
    assert verdict.violation.property == NO_LIVELOCK
    assert len(verdict.violation.schedule.moves) < 200
    execution = execute(test, verdict.violation.schedule)
    assert execution.violation == (NO_LIVELOCK, verdict.violation.detail)


def test_a_walk_that_does_come_to_rest():
    test, _ = judged(spinner, says_it)
    assert isinstance(sample(test, walker="uniform", runs=20, seed=1), Undecided)


def test_among_copies_the_schedule_and_its_text_name_the_same_one():
    scenario = Scenario(setup=mapped, threads=(Process((own_spinner,), copies=2), idle))
    test = Test("copies", scenario, wait_for_pins, V3_17)
    verdict = check(test, reduce=True)
    assert isinstance(verdict, Violated)
    assert execute(test, verdict.violation.schedule).violation == (NO_LIVELOCK, verdict.violation.detail)


async def idle(_sys, _shared):
    return


async def own_spinner(sys, _):
    while True:
        if await sys.pread(3, 4) == b"late":
            return


def test_how_it_reads():
    test, _ = judged(spinner, takes_it_back)
    found = judged_test(test, Options())
    told = text.verdict(found)
    assert told.count("<- no livelock") == 1
    assert "no livelock: spinner spins for ever in instruction()" in told
    assert f"The last {found.execution.turn} steps, by spinner, leave everything as it was before;" in told
    assert "Let " not in told
    said = json_.result(found)["violation"]
    assert said["property"] == NO_LIVELOCK
    assert said["steps"] == len(found.verdict.violation.schedule.moves)
    assert said["argument"].startswith("The last ")


def test_a_design_of_the_catalogue_that_spins():
    """What it refuses, get_user_pages() asks for again, for ever up to v4.8; a change of Linux ends that."""
    for release, spins in ((V3_17, True), (release_named("v4.9"), False)):
        verdict = check(Test("dirty_cow", find("dirty_cow").scenario, writable_user_pages, release))
        assert (isinstance(verdict, Violated) and verdict.violation.property == NO_LIVELOCK) is spins


def test_a_bound_is_no_verdict():
    _, verdict = judged(spinner, says_it, bounds=Bounds(max_states=5), reduce=False)
    assert isinstance(verdict, Undecided)
