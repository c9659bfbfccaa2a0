"""One thread run alone on a freshly booted machine, every always-on property judged at every step and at the end.

Whatever else there is (children, devices) moves only while the thread cannot.  So the answers are those of a program
that nobody disturbs, which the tables of a real kernel can be held against.
"""

from __future__ import annotations

from mmsim.check import Test
from mmsim.check.run import tables_of
from mmsim.engine.run import Run
from mmsim.kernel.releases import release_named
from mmsim.scenario import Scenario
from mmsim.strategies import wait_for_pins
from mmsim.syscalls import MFD_ALLOW_SEALING, fill


async def nothing(sys):
    return None


def outcomes(thread, *, release="v3.17", strategy=wait_for_pins, children=(), devices=(), words=1):
    """What the thread and its children returned."""
    scenario = Scenario(
        setup=nothing, threads=(thread,), children=children, devices=devices, words_per_page=words
    )
    tables, properties = tables_of(Test("alone", scenario, strategy, release_named(release)))
    run = Run(tables, properties.resting)
    while able := run.able():
        run.step(able[0])
    assert run.end() is None
    return dict(run.outcome())


def alone(thread, **how):
    """What the thread returned."""
    return outcomes(thread, **how)[thread.__name__]


async def filled(sys, pages=1, pattern=b"orig", flags=MFD_ALLOW_SEALING):
    """A memfd of so many pages."""
    fd = await sys.memfd_create("file", flags)
    assert await sys.pwrite(fd, fill(pattern, pages)) == len(fill(pattern, pages))
    return fd
