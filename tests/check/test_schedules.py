"""Schedules, written and read back, and what is said of one that is none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsim.check import parse_schedule
from mmsim.errors import UserError
from mmsim.verdict import Move, Schedule

NAMES = st.sampled_from(("reader", "sealer", "user[0]", "user[1]", "user[10].slow", "a", "d2_d", "x/y"))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.builds(Move, NAMES, st.integers(0, 12) | st.just(0)), max_size=30))
def test_a_schedule_is_read_back_as_it_was_written(moves):
    schedule = Schedule(tuple(moves))
    assert parse_schedule(str(schedule)) == schedule


@settings(deadline=None, max_examples=60)
@given(st.lists(st.builds(Move, NAMES), max_size=30))
def test_one_without_alternatives_is_read_back(moves):
    schedule = Schedule(tuple(moves))
    assert parse_schedule(str(schedule)) == schedule


def test_how_it_is_written():
    moves = (*[Move("reader")] * 7, Move("sealer", 1), Move("sealer", 1), *[Move("sealer")] * 2, Move("user[0]"))
    text = "reader7 sealer1/1 sealer1/1 sealer2 user[0]1"
    assert str(Schedule(moves)) == text
    assert parse_schedule(f"  {text}\n").moves == moves
    assert parse_schedule("reader1 reader2") == parse_schedule("reader3")
    assert parse_schedule("") == Schedule(())
    assert Schedule(moves).switches == 2


@pytest.mark.parametrize(
    "part",
    [
        "reader", "7", "reader0", "reader1/", "reader1/x",
        "1/1",
        "reader2/1",
    ],
)  # fmt: skip
def test_what_is_no_schedule(part):
    with pytest.raises(UserError, match="is no part of a schedule") as caught:
        parse_schedule(f"reader1 {part} sealer1")
    assert repr(part) in str(caught.value)
