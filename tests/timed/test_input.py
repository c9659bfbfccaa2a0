"""Bad input to the timed driver: one sentence each."""

from __future__ import annotations

import math
from types import coroutine

import pytest

from mmsim.cells import World
from mmsim.errors import UserError
from mmsim.steps import sleep
from mmsim.timed import Exponential, Fixed, FlatCost, simulate
from tests.timed.toys import device, machine, two_users


@pytest.mark.parametrize("cpus", [0, -1, 1.5, True, "2"])
def test_cpus(cpus):
    with pytest.raises(UserError, match="at least one CPU, and a whole number of them"):
        simulate(two_users(), cpus=cpus)


@pytest.mark.parametrize("ns", [-1, math.nan, math.inf, "10", None])
@pytest.mark.parametrize("made", [Fixed, Exponential, FlatCost])
def test_durations(made, ns):
    with pytest.raises(UserError, match="a duration is a"):
        made(ns)


def test_a_flat_cost_of_nothing():
    with pytest.raises(UserError, match="a positive number"):
        FlatCost(0)


@pytest.mark.parametrize("ns", [0, -5, math.nan])
def test_the_time_to_simulate(ns):
    with pytest.raises(UserError, match="the time to simulate"):
        simulate(two_users(), until_ns=ns)


@pytest.mark.parametrize("ns", [-1, math.nan, math.inf])
def test_a_cost_model_gone_wrong(ns):
    with pytest.raises(UserError, match="the cost of lock"):
        simulate(two_users(), cost=lambda _step, _cpu, _now, _context: ns)


def test_a_distribution_gone_wrong():
    class Wrong:
        def draw(self, _rng):
            return -1

    world = World()

    async def user():
        await world.cell("disk.request", "none").store("asked")

    with pytest.raises(UserError, match="the delay of device disk came out as -1"):
        simulate(machine(world, user, device(world)), delays={"disk": Wrong()})


def test_an_unknown_device():
    with pytest.raises(UserError, match=r"'tape', which the machine does not have; it has disk$"):
        simulate(machine(World(), device(World())), delays={"tape": Fixed(1)})
    with pytest.raises(UserError, match="it has none"):
        simulate(two_users(), delays={"a": Fixed(1)})


def test_a_negative_sleep():
    async def sleeper():
        await sleep(-1)

    with pytest.raises(UserError, match="what sleeper sleeps is -1"):
        simulate(machine(World(), sleeper))


def test_a_thread_that_awaits_no_step():
    @coroutine
    def nonsense():
        yield 42

    async def lost():
        await nonsense()

    with pytest.raises(UserError, match=r"lost awaits 42 in nonsense\(\) at test_input\.py:"):
        simulate(machine(World(), lost))
