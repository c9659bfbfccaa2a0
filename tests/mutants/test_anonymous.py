"""Mistakes in anonymous memory, each of which the checker must find."""

from __future__ import annotations

from mmsim.check.books import LEAK
from mmsim.kernel.huge_memory import get_huge_zero_page
from mmsim.kernel.releases import change
from mmsim.kernel.types import Pte
from mmsim.scenario import Scenario
from mmsim.syscalls import MADV_DONTNEED, MAP_PRIVATE, PAGE_SIZE, PROT_READ, PROT_WRITE
from tests.mutants.judged import Mutant, each

ALWAYS = change("in every release", "v1.0..")
WINDOW, OTHER = 0x10000, 0x11000

# ---- scenes


async def two_to_read(sys):
    zero = await sys.dev_zero()
    await sys.mmap(zero, PROT_READ, MAP_PRIVATE)
    await sys.mmap(zero, PROT_READ, MAP_PRIVATE)
    await sys.load(OTHER)


async def two_to_store_to(sys):
    zero = await sys.dev_zero()
    await sys.mmap(zero, PROT_READ | PROT_WRITE, MAP_PRIVATE)
    await sys.mmap(zero, PROT_READ | PROT_WRITE, MAP_PRIVATE)


async def forcer(sys, _):
    return await sys.mem_write(WINDOW, b"evil")


async def looker(sys, _):
    await sys.madvise(WINDOW, PAGE_SIZE, MADV_DONTNEED)
    await sys.mem_read(WINDOW, 4)
    return await sys.load(OTHER, 4)


async def loads_and_stores(sys, _):
    await sys.load(WINDOW, 4)
    await sys.store(WINDOW, b"mine")
    return await sys.load(WINDOW, 4)


async def loader(sys, _):
    return await sys.load(OTHER, 4)


def memory_of_others_is_zero(looker):
    return looker == bytes(4)


def untouched_memory_is_zero(loader):
    return loader == bytes(4)


def scene(setup, *threads, always=()):
    return Scenario(setup=setup, threads=threads, always=always)


# ---- mistakes


async def nothing(*_):
    return None


async def zeros_that_may_be_written(k, _vma, *, write):
    return Pte(await get_huge_zero_page(k), write=True, dirty=write, huge=True)


def nothing_held(_self, _view):
    return ()


@each(
    [
        Mutant(
            "who only looks makes a pmd dirty",
            scene(two_to_read, forcer, looker, always=(memory_of_others_is_zero,)),
            "memory_of_others_is_zero",
            (("kernel.huge_memory", "TOUCH_PMD_DIRTIES", ALWAYS),),
            release="v4.18",
        ),
        Mutant(
            "the page of zeros is mapped writable",
            scene(two_to_store_to, loads_and_stores, loader, always=(untouched_memory_is_zero,)),
            "untouched_memory_is_zero",
            (("kernel.memory", "do_huge_pmd_anonymous_page", zeros_that_may_be_written),),
        ),
        Mutant(
            "an entry of the page of zeros has no reference",
            scene(two_to_store_to, loads_and_stores),
            LEAK,
            (("kernel.huge_memory", "get_page", nothing),),
        ),
        Mutant(
            "two who make the page of zeros at once keep both",
            scene(two_to_store_to, loads_and_stores, loader),
            LEAK,
            (("kernel.huge_memory", "put_page", nothing),),
        ),
        Mutant(
            "nobody knows that the page of zeros is kept",
            scene(two_to_store_to, loader),
            LEAK,
            (("kernel.huge_memory", "HugeZeroPage.holds", nothing_held),),
        ),
    ]
)
def test_mistakes_are_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
