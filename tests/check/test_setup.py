"""What runs before anything races: setup alone, and the devices where it waits for them."""

from __future__ import annotations

import pytest

from mmsim.errors import UserError
from mmsim.kernel.releases import V3_17
from mmsim.kernel.types import Page
from mmsim.machine import boot
from mmsim.scenario import Scenario
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import MAP_SHARED, PAGE_SIZE, PROT_READ, PROT_WRITE, Device, fill

SLOW = Device("slow")


async def submit(sys):
    fd = await sys.memfd_create("file")
    await sys.ftruncate(fd, PAGE_SIZE)
    return await sys.submit_direct_read(SLOW, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED), fill(b"data"))


async def submit_and_wait(sys):
    await sys.wait_for(await submit(sys))


async def idle(_sys, _shared):
    return


def content_after(setup, *devices):
    machine = boot(Scenario(setup=setup, threads=(idle,), devices=devices), wait_for_pins, V3_17)
    (page,) = machine.world.of(Page)
    return machine.initial[page.word(0)]


def test_a_device_is_silent_where_setup_does_not_wait_for_it():
    assert content_after(submit, SLOW) == bytes(PAGE_SIZE)


def test_a_device_completes_what_setup_waits_for():
    assert content_after(submit_and_wait, SLOW) == fill(b"data")


def test_setup_that_waits_for_nobody_is_told_so():
    with pytest.raises(UserError, match="setup waits for ever"):
        content_after(submit_and_wait)
