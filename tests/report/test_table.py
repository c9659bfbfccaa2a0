"""The comparison's table."""

from __future__ import annotations

from mmsim.report.table import Entry, legend, plain, surprises, words

STRATEGIES = ("sealing_v2", "wait_for_pins", "delayed_unmap")


def entry(scenario, strategy):
    fails = strategy == "sealing_v2"
    return Entry(scenario, strategy, "Violated" if fails else "Holds", steps=19 if fails else 0)


def entries(scenarios, strategies=STRATEGIES):
    return [entry(scenario, strategy) for scenario in scenarios for strategy in strategies]


def test_a_small_table_to_the_letter():
    assert (
        words(entries(["dio_then_exit", "nothing_races"]))
        == """\
scenario       sealing_v2   wait_for_pins  delayed_unmap
dio_then_exit  Violated 19  Holds          Holds
nothing_races  Violated 19  Holds          Holds"""
    )


def test_the_legend_has_what_occurs():
    assert [line.split()[0] for line in legend(entries(["a"])).splitlines()] == ["Holds", "Violated"]
    assert [line.split()[0] for line in legend([Entry("a", "b", "Violated", fits=False)]).splitlines()] == [
        "Violated",
        "!",
    ]


def test_surprises_in_words_and_marked():
    odd = Entry("nothing_races", "sealing_v2", "Violated", 7, fits=False, expected="Holds")
    unseen = Entry("dio_then_exit", "sealing_v2", "Holds", unwitnessed=True, expected="Holds")
    assert surprises([unseen, odd]).splitlines() == [
        "dio_then_exit under sealing_v2: Holds, a `sometimes` was never seen",
        "nothing_races under sealing_v2: Violated, expected Holds",
    ]
    assert "Violated 7!" in words([unseen, odd])
    assert "Holds?" in words([unseen, odd])


def test_a_long_surprise_is_wrapped():
    odd = Entry("a_scenario_with_quite_a_long_name" * 2, "a_strategy_with_one" * 2, "Holds", fits=False, expected="x")
    assert all(len(line) <= 100 for line in surprises([odd]).splitlines())
    assert len(surprises([odd], width=1000).splitlines()) == 1


def test_many_strategies_still_fit():
    many = [f"strategy_number_{number:02}" for number in range(12)]
    text = words(entries(["short", "a_scenario_with_quite_a_long_name"], many))
    assert max(map(len, text.splitlines())) <= 100
    assert all(text.count(name) == 1 for name in many)


def test_what_does_not_fit_either_way_is_not_put_into_words():
    many = [f"strategy_number_{number:02}" for number in range(12)]
    assert words(entries([f"scenario_number_{number:02}" for number in range(12)], many)) == ""


def test_a_pair_that_was_not_judged_is_a_dot():
    assert "b         .           Holds" in words([Entry("a", "sealing_v2", "Holds"), Entry("b", "other", "Holds")])


def test_colour_changes_nothing_else():
    import re

    some = entries(["dio_then_exit"])
    assert re.sub("\x1b\\[[0-9;]*m", "", words(some, colour=True)) == words(some)
    assert "\x1b" in words(some, colour=True)
    assert "\x1b" not in words(some)


def test_plain_columns():
    assert plain([["a", "bb"], ["ccc", "d"]]) == "a    bb\nccc  d"
