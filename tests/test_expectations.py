"""What a scenario expects of which design, and of which it expects nothing."""

from __future__ import annotations

import pytest

from mmsim import catalogue
from mmsim.errors import UserError
from mmsim.scenario import LINUX_CARRIES, Scenario
from mmsim.strategies import BY_NAME
from mmsim.verdict import HOLDS, OTHERS, UNASKED, VIOLATED

DESIGNS = ("one", "two", "three")


async def setup(_sys):
    return


async def user(_sys, _shared):
    return


def expecting(expect, **more):
    return Scenario(setup=setup, threads=(user,), expect=expect, **more)


def test_others_are_the_designs_of_the_catalogue_that_are_not_named():
    scenario = expecting({OTHERS: HOLDS, "two": VIOLATED, "mine": VIOLATED})
    told = {name: scenario.expected(name, "v3.17", DESIGNS) for name in (*DESIGNS, "mine", "yours")}
    assert told == {"one": HOLDS, "two": VIOLATED, "three": HOLDS, "mine": VIOLATED, "yours": None}
    assert scenario.tests(DESIGNS) == (("one", "v3.17"), ("two", "v3.17"), ("three", "v3.17"), ("mine", "v3.17"))


def test_a_design_that_is_not_asked_is_none_of_the_others():
    scenario = expecting({OTHERS: HOLDS, "two": UNASKED})
    assert scenario.expected("two", "v3.17", DESIGNS) is None
    assert scenario.tests(DESIGNS) == (("one", "v3.17"), ("three", "v3.17"))
    catalogue.check(scenario, "here", DESIGNS)


def test_nothing_but_a_verdict_or_none_is_expected():
    with pytest.raises(UserError, match="write HOLDS or VIOLATED"):
        catalogue.check(expecting({"two": False}), "here", DESIGNS)


def test_the_history_is_that_of_the_design_that_linux_carries():
    scenario = expecting({OTHERS: VIOLATED}, history={"v4.8": VIOLATED, "v4.9": HOLDS}, release="v4.9")
    assert scenario.tests(("one", LINUX_CARRIES)) == (
        ("one", "v4.9"), (LINUX_CARRIES, "v4.8"), (LINUX_CARRIES, "v4.9")
    )  # fmt: skip


@pytest.mark.parametrize("name", catalogue.names())
def test_every_scenario_asks_every_design_or_says_that_it_does_not(name):
    scenario = catalogue.find(name).scenario
    unasked = {design for design, verdict in scenario.expect.items() if verdict is UNASKED}
    asked = {design for design, _ in scenario.tests(tuple(BY_NAME))}
    assert asked == (set(BY_NAME) - unasked if scenario.expect else {LINUX_CARRIES})
    assert bool(scenario.expect) or scenario.history
