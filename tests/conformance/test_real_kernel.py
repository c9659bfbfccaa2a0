"""Scenarios on the running kernel, from whole runs in worker processes down to single faults.

The samples beside this file are scenario files of their own, as a worker imports them anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import attrs
import pytest

from mmsim.conformance.run import conform, run_once
from mmsim.conformance.stir import Answers, Timing, cast_of
from mmsim.errors import UserError
from mmsim.syscalls import EBUSY, PAGE_SIZE
from mmsim.verdict import WAITING
from tests.conformance.machine import SAMPLES, sample, workers

pytestmark = pytest.mark.usefixtures("scratch")


@pytest.mark.kernel
@pytest.mark.usefixtures("slow_device")
def test_the_mails_race_with_the_answer_held_back():
    held = sample("held_read")
    ((_, seen),) = run_once(held.scenario, Timing(answers=Answers.HELD))
    assert seen.refused_slowly  # after more than 100 ms
    assert seen == held.Seen(PAGE_SIZE, -EBUSY, seen.refused_slowly, b"old.", b"new!", 0)


@pytest.mark.kernel
@pytest.mark.usefixtures("slow_device")
def test_the_mails_race_with_the_answer_first():
    answered = sample("answered_read")
    assert run_once(answered.scenario, Timing(answers=Answers.AT_ONCE)) == (("program", (PAGE_SIZE, 0, b"new!")),)


@pytest.mark.kernel
@pytest.mark.usefixtures("slow_device")
@pytest.mark.parametrize("name", ["race", "two_processes"])
def test_outcomes_are_among_those_worked_out_by_hand(name):
    module = sample(name)
    told = []
    result = conform(module.scenario, module.allowed, 300, seed=1, progress=lambda *counts: told.append(counts))
    assert result.agrees, result
    assert result.runs == 300
    assert sum(count for _, count in result.observed) == 300
    assert len(result.observed) > 1
    assert told
    assert told[-1][1] == 300


@pytest.mark.kernel
@pytest.mark.usefixtures("slow_device")
def test_a_wrong_set_of_outcomes_is_found_out():
    module = sample("race")
    usual = (("reader", PAGE_SIZE), ("sealer", module.Seen(-EBUSY, b"old.")))
    never = (("reader", PAGE_SIZE), ("sealer", module.Seen(-EBUSY, b"????")))
    silent = (("reader", WAITING), ("sealer", module.Seen(-EBUSY, b"old.")))
    result = conform(module.scenario, {*module.allowed, never, silent} - {usual}, 200)
    assert result.impossible == (usual,)
    assert never in result.unseen
    assert result.silent == (silent,)
    assert not result.agrees


@pytest.mark.kernel
@pytest.mark.usefixtures("system_calls")
def test_faults_and_refusals():
    module = sample("faults")
    assert run_once(module.scenario) == (("program", module.expected),)


@pytest.mark.kernel
@pytest.mark.usefixtures("slow_device")
@pytest.mark.parametrize("answers", list(Answers), ids=lambda answers: answers.name)
def test_direct_writes_by_copies_and_by_a_child(answers):
    module = sample("writers")
    result = conform(module.scenario, {tuple(module.expected.items())}, 60, timing=Timing(answers=answers))
    assert result.agrees, result


@pytest.mark.kernel
@pytest.mark.usefixtures("slow_device")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("crashing", "the process that ran crashes was ended by SIGSEGV"),
        ("raising", r"raises: ZeroDivisionError at line \d+ of misbehaving.py: "),
        ("sleeping", "a run was stopped after 1.5 s, waiting for sleeps"),
        ("awaiting", r"awaits: it awaits something that is no system call \(line \d+ of misbehaving.py\)"),
        ("unhashable_outcome", "unhashable: TypeError: unhashable type: 'list'"),
        ("unknown", "unknown_device: device none is not among the scenario's devices"),
    ],
)
def test_a_program_that_fails_is_one_sentence(name, sentence):
    with pytest.raises(UserError, match=f"^{sentence}") as raised:
        run_once(getattr(sample("misbehaving"), name), Timing(answers=Answers.HELD, seconds=1.5))
    assert "\n" not in str(raised.value)


@pytest.mark.kernel
@pytest.mark.usefixtures("slow_device")
def test_a_stuck_run_does_not_stop_the_others():
    result = conform(sample("misbehaving").sleeping, None, 3, timing=Timing(seconds=0.3), lanes=1)
    assert len(result.stuck) == 3
    assert not result.agrees


@pytest.mark.kernel
@pytest.mark.usefixtures("slow_device")
def test_a_time_limit_ends_it_early():
    result = conform(sample("race").scenario, None, 1_000_000, seconds=0.5)
    assert 0 < result.runs < 1_000_000
    assert result.seconds < 5


INTERRUPTED = """
import os, signal, sys
sys.path.insert(0, {samples!r})
import race
from mmsim.conformance.run import conform
signals = []
def progress(done, wanted):
    if done and not signals:
        signals.append(signal.{signal})
        os.kill(os.getpid(), signal.{signal})
result = conform(race.scenario, None, 1_000_000, progress=progress)
print(result.interrupted, 0 < result.runs < 1_000_000)
"""


@pytest.mark.kernel
@pytest.mark.usefixtures("slow_device")
@pytest.mark.parametrize("signal", ["SIGINT", "SIGKILL"])
def test_nothing_is_left_when_the_session_is_interrupted_or_killed(signal, tmp_path):
    program = INTERRUPTED.format(samples=str(SAMPLES), signal=signal)
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(SAMPLES.parents[2])},
    )
    if signal == "SIGINT":
        assert ended.stdout == "True True\n", ended.stderr
        return
    deadline = time.monotonic() + 10
    while workers(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not workers(tmp_path)
    while list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)  # the worker removes the scratch directory of a session that is gone


def test_model_only_is_refused():
    scenario = attrs.evolve(sample("race").scenario, model_only=True)
    for refused in (lambda: conform(scenario), lambda: run_once(scenario)):
        with pytest.raises(UserError, match="model only"):
            refused()


def test_a_scenario_without_a_file_is_refused():
    with pytest.raises(UserError, match="from its own file"):
        conform(attrs.evolve(sample("race").scenario, words_per_page=8))


def test_threads_are_named_after_their_functions():
    cast = cast_of(sample("writers").scenario)
    assert cast.names == ("parent", "user[0]", "user[1]")
    assert [len(process) for process in cast.processes] == [1, 1, 1]
    assert len(cast.devices) == 3


def test_copies_may_change_places_and_others_may_not():
    cast = cast_of(sample("writers").scenario)
    one = (("parent", 1), ("user[0]", 2), ("user[1]", 3))
    assert cast.likeness(one) == cast.likeness((("parent", 1), ("user[0]", 3), ("user[1]", 2)))
    assert cast.likeness(one) != cast.likeness((("parent", 2), ("user[0]", 1), ("user[1]", 3)))
    assert cast.likeness(one) != cast.likeness((("parent", 1), ("user[0]", 2), ("user[1]", 2)))
