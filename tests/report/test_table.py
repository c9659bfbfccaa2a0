"""The comparison's table."""

from __future__ import annotations

from mmsim.report.table import Entry, compare, plain

STRATEGIES = ("sealing_v2", "wait_for_pins", "delayed_unmap")


def entry(scenario, strategy):
    fails = strategy == "sealing_v2"
    return Entry(scenario, strategy, "Violated" if fails else "Holds", steps=19 if fails else 0)


def entries(scenarios, strategies=STRATEGIES):
    return [entry(scenario, strategy) for scenario in scenarios for strategy in strategies]


def test_a_small_table_to_the_letter():
    assert (
        compare(entries(["dio_then_exit", "nothing_races"]))
        == """\
scenario       sealing_v2   wait_for_pins  delayed_unmap
dio_then_exit  Violated 19  Holds          Holds
nothing_races  Violated 19  Holds          Holds

Holds      every interleaving was explored and none breaks a property
Violated n the shortest schedule that breaks a property has n steps (`mmsim check` shows it)"""
    )


def test_surprises_come_first():
    odd = Entry("nothing_races", "sealing_v2", "Violated", 7, fits=False, expected="Holds")
    unseen = Entry("dio_then_exit", "sealing_v2", "Holds", unwitnessed=True, expected="Holds")
    lines = compare([unseen, odd]).splitlines()
    assert lines[:2] == [
        "dio_then_exit under sealing_v2: Holds, a `sometimes` was never seen",
        "nothing_races under sealing_v2: Violated, expected Holds",
    ]
    assert "Violated 7!" in "\n".join(lines)
    assert "Holds?" in "\n".join(lines)


def test_many_strategies_still_fit():
    many = [f"strategy_number_{number:02}" for number in range(12)]
    text = compare(entries(["short", "a_scenario_with_quite_a_long_name"], many))
    assert max(map(len, text.splitlines())) <= 100
    assert all(text.count(name) == 1 for name in many)


def test_many_scenarios_and_strategies_are_cut_into_several_tables():
    many = [f"strategy_number_{number:02}" for number in range(12)]
    scenarios = [f"scenario_number_{number:02}" for number in range(12)]
    text = compare(entries(scenarios, many))
    assert max(map(len, text.splitlines())) <= 100
    assert all(text.count(name) == 1 for name in many)


def test_a_pair_that_was_not_judged_is_a_dot():
    assert "b         .           Holds" in compare([Entry("a", "sealing_v2", "Holds"), Entry("b", "other", "Holds")])


def test_colour_changes_nothing_else():
    import re

    some = entries(["dio_then_exit"])
    assert re.sub("\x1b\\[[0-9;]*m", "", compare(some, colour=True)) == compare(some)
    assert "\x1b" in compare(some, colour=True)
    assert "\x1b" not in compare(some)


def test_plain_columns():
    assert plain([["a", "bb"], ["ccc", "d"]]) == "a    bb\nccc  d"
