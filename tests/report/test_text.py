"""The verdict's text and its JSON, for verdicts made by hand."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from mmsim.report import json_, text
from mmsim.report.judged import Judged
from mmsim.scenario import Scenario
from mmsim.verdict import (
    HOLDS,
    VIOLATED,
    WAITING,
    Coverage,
    Holds,
    Move,
    Schedule,
    Undecided,
    Violated,
    Violation,
)
from tests.report.samples import AT_THE_WRITE


async def setup(sys):
    pass


async def sealer(sys, shared):
    return 0


def seal_is_refused(sealer):
    return sealer != 0


SCENARIO = Scenario(setup, (sealer,), always=(seal_is_refused,))
GOOD, BAD, SILENT = (("sealer", -16),), (("sealer", 0),), (("sealer", WAITING),)
COVERAGE = Coverage(1234, 5678, "exhaustive", depth=19)
MOVES = Schedule((Move("reader"), Move("reader"), Move("sealer", 1), Move("slow")))


def judged(verdict, *, expected=HOLDS, right=True, unwitnessed=(), execution=None):
    test = SimpleNamespace(
        name="race",
        scenario=SCENARIO,
        strategy=SimpleNamespace(name="mine"),
        in_session=False,
        release=SimpleNamespace(name="v3.17"),
        digest="12ab",
        words=("race", "mine"),
    )
    judgement = SimpleNamespace(expected=expected, as_expected=right, unwitnessed=unwitnessed)
    return Judged(test, verdict, judgement, 0.123, execution)


VIOLATION = Violation("sealed content never changes", "page0 changed", MOVES, shortest=True)
BROKEN = judged(Violated(VIOLATION, (GOOD, BAD), COVERAGE), expected=VIOLATED, execution=AT_THE_WRITE)


def test_a_proof():
    assert (
        text.verdict(judged(Holds((GOOD, SILENT), COVERAGE)))
        == """\
Test race mine
States 2
sealer=-16;
sealer=WAITING;
Ok (as expected)
Observation race Never 0 2
Hash 12ab
Time race 0.12 s, exhaustive: 1,234 states, 5,678 transitions, depth 19"""
    )


def test_a_violation_is_a_picture_a_sentence_an_argument_and_a_command():
    picture, sentence, argument, command, block = text.verdict(BROKEN).split("\n\n")
    assert picture.endswith("<- sealed content never changes")
    assert sentence == (
        "sealed content never changes: page0 changed.  (4 steps, 2 switches\n"
        "between threads; no shorter schedule breaks a property.)"
    )
    assert argument.startswith("Let reader raise page0._refcount 2 -> 3")
    assert command == 'mmsim replay race --strategy mine --release v3.17 --schedule "reader2 sealer1/1 slow1"'
    assert "\nNo (as expected)\nObservation race Sometimes 1 1\n" in block


def test_a_violation_that_no_outcome_shows_counts_as_one():
    alone = judged(Violated(VIOLATION, (), COVERAGE))
    assert "Observation race Always 1 0" in text.block(alone)


def test_a_bound():
    coverage = Coverage(10, 20, "bounded (10 states)", waiting=3, depth=4)
    block = text.block(judged(Undecided("10 states", (GOOD,), coverage), right=False))
    assert "Undecided: 10 states (expected: Holds)" in block
    assert block.endswith("bounded (10 states): 10 states, 20 transitions, depth 4, 3 waiting")


def test_sampling_counts_no_states():
    coverage = Coverage(0, 20, "sampled (5 pos walks)", depth=4)
    assert "sampled (5 pos walks): 20 transitions" in text.block(judged(Undecided("", (GOOD,), coverage)))


def test_what_was_never_seen_is_named():
    block = text.block(judged(Holds((GOOD,), COVERAGE), right=False, unwitnessed=("seal_granted",)))
    assert "Never seen: seal_granted" in block


@pytest.mark.parametrize(
    ("one", "status"),
    [
        (BROKEN, 0),
        (judged(Holds((GOOD,), COVERAGE)), 0),
        (judged(Holds((GOOD,), COVERAGE), expected=VIOLATED, right=False), 1),
        (judged(Holds((GOOD,), COVERAGE), unwitnessed=("x",)), 1),
        (judged(Undecided("why", (), COVERAGE), right=False), 3),
    ],
)
def test_the_exit_status(one, status):
    assert one.status == status


def test_json_is_versioned_and_complete():
    document = json.loads(json_.document("check", [json_.result(BROKEN)], 0))
    assert {key: document[key] for key in ("schema", "command", "status")} == {
        "schema": "mmsim/1",
        "command": "check",
        "status": 0,
    }
    (result,) = document["results"]
    assert result["test"] == {"scenario": "race", "strategy": "mine", "release": "v3.17", "hash": "12ab"}
    assert result["verdict"] == result["expected"] == "Violated"
    assert result["violation"]["schedule"] == "reader2 sealer1/1 slow1"
    assert result["violation"]["steps"] == 4
    assert result["outcomes"] == [
        {"threads": {"sealer": "-16"}, "breaks": []},
        {"threads": {"sealer": "0"}, "breaks": ["seal_is_refused"]},
    ]
    assert result["observation"] == {"word": "Sometimes", "breaking": 1, "other": 1}


def test_every_key_of_the_json_is_documented():
    for key in json_.result(BROKEN):
        assert f"\n    {key}" in json_.__doc__
