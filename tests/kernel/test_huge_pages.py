"""Huge pages of shared memory: the page cache has a reference for each page of one, and gives all of them back."""

from __future__ import annotations

import pytest

from mmsim.check import Test, check
from mmsim.check.books import LEAK
from mmsim.kernel.releases import release_named
from mmsim.scenario import Scenario
from mmsim.strategies import STRATEGIES
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import EBUSY, F_SEAL_WRITE, MFD_ALLOW_SEALING, fill
from mmsim.verdict import Holds, Violated

FD = 3


async def setup(sys):
    await sys.memfd_create("file", MFD_ALLOW_SEALING)
    await sys.pwrite(FD, fill(b"orig"))


async def truncater(sys, _):
    return await sys.ftruncate(FD, 0)


async def reader(sys, _):
    return await sys.pread(FD, 4)


async def writer(sys, _):
    return await sys.ftruncate(FD, 0), await sys.pwrite(FD, b"next"), await sys.pread(FD, 4)


async def sealer(sys, _):
    return await sys.add_seals(FD, F_SEAL_WRITE), await sys.pread(FD, 4)


def verdict(*threads, strategy=wait_for_pins, release="v5.17"):
    scene = Scenario(setup=setup, threads=threads, shmem_huge=True)
    return check(Test("huge", scene, strategy, release_named(release)))


@pytest.mark.parametrize("release", ["v3.17", "v4.8", "v5.17"])
def test_a_huge_page_is_truncated_and_made_anew_and_none_is_leaked(release):
    assert isinstance(verdict(truncater, reader, release=release), Holds)
    told = verdict(writer, reader, release=release)
    assert isinstance(told, Holds)
    assert {dict(outcome)["writer"] for outcome in told.outcomes} == {(0, 4, b"next")}


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_every_design_seals_a_file_of_huge_pages(strategy):
    told = verdict(sealer, strategy=strategy)
    assert isinstance(told, Holds), told.violation
    answers = {dict(outcome)["sealer"] for outcome in told.outcomes}
    assert answers == {(0, b"orig")}


@pytest.mark.parametrize(("release", "answer"), [("v3.17", 0), ("v4.8", -EBUSY), ("v5.16", -EBUSY), ("v5.17", 0)])
def test_the_check_for_pins_and_a_huge_page(release, answer):
    told = verdict(sealer, release=release)
    assert {dict(outcome)["sealer"] for outcome in told.outcomes} == {(answer, b"orig")}


def test_a_truncation_that_keeps_the_references_is_found(monkeypatch):
    async def nothing(_page):
        pass

    monkeypatch.setattr("mmsim.kernel.page_alloc.put_cache_references", nothing)
    told = verdict(truncater)
    assert isinstance(told, Violated)
    assert told.violation.property == LEAK
