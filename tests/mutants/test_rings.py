"""Mistakes in io_uring's registered buffers, each a step or a lock left out, that must be found."""

from __future__ import annotations

from mmsim.check import Test, check
from mmsim.check.promises import SEALED
from mmsim.check.properties import LOST
from mmsim.kernel.releases import release_named
from mmsim.scenario import Scenario
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import F_SEAL_WRITE
from mmsim.verdict import Violated
from tests.mutants import scenes
from tests.mutants.judged import Mutant, each, left_out
from tests.mutants.scenes import DISK, FD, LATE, NEXT, WINDOW


async def registered(sys):
    await scenes.mapped(sys)
    return await sys.register_buffer(WINDOW)


async def reader(sys, buffer):
    await sys.submit_read_fixed(DISK, buffer, LATE)


async def sealer(sys, buffer):
    await sys.unregister_buffer(buffer)
    await sys.munmap(WINDOW)
    await sys.add_seals(FD, F_SEAL_WRITE)


async def registered_copy(sys):
    await scenes.private_copy(sys)
    return await sys.register_buffer(WINDOW)


async def forker(sys, _):
    await sys.fork(scenes.child)
    await sys.store(WINDOW, NEXT)


def scene(setup, *threads, children=()):
    return Scenario(setup=setup, threads=threads, devices=(DISK,), children=children)


MUTANTS = [
    Mutant(
        "a request takes a buffer that is being unregistered",
        scene(registered, reader, sealer),
        SEALED,
        patches=(left_out("kernel.io_uring.get_rsrc_node", "async with uring_lock(k.process):"),),
        release="v6.18",
    ),
    Mutant(
        "a buffer is unregistered while a request takes it",
        scene(registered, reader, sealer),
        SEALED,
        patches=(left_out("kernel.io_uring.io_unregister_buffer", "async with uring_lock(k.process):"),),
        release="v6.18",
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)


def test_what_is_lost_to_a_registered_buffer_is_seen():
    """fork() copies no pinned page yet: the parent's store gives it another one than the device fills."""
    found = check(
        Test(
            "t", scene(registered_copy, reader, forker, children=(scenes.child,)), wait_for_pins, release_named("v5.4")
        )
    )
    assert isinstance(found, Violated)
    assert found.violation.property == LOST
