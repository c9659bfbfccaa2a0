"""What a design costs: fixed paths, run alone on a booted machine, and counted step by step.

Each path is a scenario of one thread that nobody disturbs, so it has one execution, and the counts are exact for the
model: steps, atomic read-modify-writes, cache lines by the object they belong to, nanoseconds slept.  They are meant
to be compared with those of `linux`, of which every design is a variation; the model leaves out what no design changes.

The layout (`line_of`) is that of v3.17 on x86-64: struct page is one line of 64 bytes; the entries of a page table
lie eight to a line; fields that Linux keeps far apart are in lines of their own.  A field that is not in the table was
added by the design: it is in struct page's line if the budget of the design says that it makes room there, and else in
a line of its own.  The memory of a page, the TLBs and the bookkeeping of the model are no cache lines of the kernel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Final

import attrs

from mmsim.cells import SpinLock, World
from mmsim.errors import UserError
from mmsim.kernel.entry import SimSyscalls
from mmsim.kernel.filemap import find_get_page
from mmsim.kernel.gup import get_user_pages, get_user_pages_fast
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.releases import Release
from mmsim.kernel.strategy import Strategy, linux
from mmsim.kernel.types import AddressSpace, Caller, Inode, Mm, Page, Pin, Process
from mmsim.machine import boot
from mmsim.scenario import Scenario
from mmsim.steps import Access, Step
from mmsim.syscalls import (
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    fill,
)

Call = Callable[..., Coroutine[Any, Any, Any]]

MANY_PAGES: Final = 8


@attrs.frozen
class Priced:
    """One path under one design."""

    path: str
    steps: int
    atomics: int
    lines: tuple[tuple[str, int], ...]
    """(kind of object, how many cache lines of that kind), sorted."""
    slept_ns: int = 0
    waits: bool = False
    """Whether the path, or what has to come before it, waits for ever; the counts end there."""


@attrs.frozen
class Setting:
    """What a path starts from."""

    fd: int
    address: int = 0
    pins: tuple[Pin, ...] = ()


# ---- the paths


async def mapped(sys: SimSyscalls, _shared: object = None) -> Setting:
    """One page of a memfd, mapped shared and writable, stored to."""
    fd = await sys.memfd_create("file", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    address = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.store(address, b"mine")
    return Setting(fd, address)


async def pinned(sys: SimSyscalls) -> Setting:
    """The same page with a direct I/O's pin on it that may write."""
    start = await mapped(sys)
    return attrs.evolve(start, pins=await gup_fast(sys, start, write=True))


async def pinned_and_unmapped(sys: SimSyscalls) -> Setting:
    """The same, and the mapping is gone."""
    start = await pinned(sys)
    await sys.munmap(start.address)
    return start


async def pinned_to_be_read(sys: SimSyscalls) -> Setting:
    """A page that a private mapping shows, with a direct I/O's pin on it that only reads."""
    fd = await sys.memfd_create("file", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    address = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
    await sys.load(address)
    start = Setting(fd, address)
    return attrs.evolve(start, pins=await gup_fast(sys, start, write=False))


async def referenced(sys: SimSyscalls) -> Setting:
    """A page that a lookup has a reference on."""
    start = await mapped(sys)
    page = await cached(sys, start)
    return attrs.evolve(start, pins=(Pin(page, write=False, caller=Caller.DIRECT_IO),))


async def one_page(sys: SimSyscalls) -> Setting:
    """A memfd that nobody maps."""
    return await pages(sys, 1)


async def many_pages(sys: SimSyscalls) -> Setting:
    """A larger one."""
    return await pages(sys, MANY_PAGES)


async def pages(sys: SimSyscalls, count: int) -> Setting:
    """A memfd of so many pages that nobody maps."""
    fd = await sys.memfd_create("file", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig", count))
    return Setting(fd)


async def cached(sys: SimSyscalls, start: Setting) -> Page:
    """The file's first page, with a reference."""
    file = await sys.k.process.fd(start.fd).load()
    assert file is not None
    page = await find_get_page(sys.k, file.inode.mapping, 0)
    assert page is not None
    return page


async def gup_fast(sys: SimSyscalls, start: Setting, *, write: bool) -> tuple[Pin, ...]:
    """get_user_pages_fast() of the page as a direct I/O asks for it."""
    pins = await get_user_pages_fast(sys.k, start.address, 1, Caller.DIRECT_IO, write=write)
    assert not isinstance(pins, int)
    return pins


async def gup_fast_to_write(sys: SimSyscalls, start: Setting) -> None:
    await gup_fast(sys, start, write=True)


async def gup_fast_to_read(sys: SimSyscalls, start: Setting) -> None:
    await gup_fast(sys, start, write=False)


async def gup_slow(sys: SimSyscalls, start: Setting) -> None:
    await get_user_pages(sys.k, sys.k.mm, start.address, 1, Caller.DIRECT_IO, write=True)


async def unpin(sys: SimSyscalls, start: Setting) -> None:
    await sys.k.strategy.unpin(sys.k, start.pins[0])


async def drop(sys: SimSyscalls, start: Setting) -> None:
    await put_page(sys.k, start.pins[0].page)


async def unmap(sys: SimSyscalls, start: Setting) -> None:
    await sys.munmap(start.address)


async def leave(sys: SimSyscalls, _start: Setting) -> None:
    await sys.exit()


async def seal(sys: SimSyscalls, start: Setting) -> None:
    await sys.add_seals(start.fd, F_SEAL_WRITE)


PATHS: Final[dict[str, tuple[Call, Call]]] = {
    "gup_fast": (mapped, gup_fast_to_write),
    "gup_fast to read": (mapped, gup_fast_to_read),
    "gup": (mapped, gup_slow),
    "unpin": (pinned, unpin),
    "unpin after munmap": (pinned_and_unmapped, unpin),
    "put_page": (referenced, drop),
    "munmap": (mapped, unmap),
    "munmap of a pinned page": (pinned, unmap),
    "exit": (mapped, leave),
    "seal 1 page": (one_page, seal),
    f"seal {MANY_PAGES} pages": (many_pages, seal),
    "seal, pinned to write": (pinned_and_unmapped, seal),
    "seal, pinned to read": (pinned_to_be_read, seal),
}
"""By name: what comes before, and the path that is counted."""


def price(strategy: Strategy, release: Release) -> tuple[Priced, ...]:
    """Every path under one design."""
    return tuple(priced(path, strategy, release) for path in PATHS)


def priced(path: str, strategy: Strategy, release: Release) -> Priced:
    """One path under one design."""
    setup, thread = PATHS[path]
    try:
        machine = boot(Scenario(setup=setup, threads=(thread,)), strategy, release)
    except UserError:  # what comes before waits for ever
        return Priced(path, 0, 0, (), waits=True)
    values = dict(machine.initial)
    lines: set[tuple[str, str]] = set()
    steps = atomics = slept = 0
    waits = False
    coroutine = machine.threads[0].start()
    result: Any = None
    while True:
        try:
            step = coroutine.send(result)
        except StopIteration:
            break
        assert isinstance(step, Step)
        moves = step.alternatives(None if step.cell is None else values.get(step.cell, step.cell.initial))
        if not moves:
            waits = True
            coroutine.close()
            break
        new, result = moves[0]
        steps += 1
        slept += int(step.operands[0]) if step.word == "sleep" else 0  # type: ignore[call-overload]  # an operand is an object
        if step.cell is not None:
            values[step.cell] = new
            atomics += is_atomic(step, machine.world)
            line = line_of(step, machine.world, in_page=in_page(strategy))
            lines |= {line} if line else set()
    counted = Counter(kind for kind, _ in lines)
    return Priced(path, steps, atomics, tuple(sorted(counted.items())), slept, waits)


@attrs.frozen
class Difference:
    """What a path costs more (or less, where negative) than under another design."""

    path: str
    steps: int
    atomics: int
    lines: tuple[tuple[str, int], ...]
    waits: bool

    def __str__(self) -> str:
        """`+2 atomics, +1 line (address_space) in gup_fast`, or '' where nothing differs."""
        if self.waits:
            return f"waits for ever in {self.path}"
        parts = [f"{self.atomics:+} atomic{'' if abs(self.atomics) == 1 else 's'}"] if self.atomics else []
        parts += [f"{more:+} line{'' if abs(more) == 1 else 's'} ({kind})" for kind, more in self.lines]
        if not parts and self.steps:
            parts = [f"{self.steps:+} step{'' if abs(self.steps) == 1 else 's'}"]
        return f"{', '.join(parts)} in {self.path}" if parts else ""

    @property
    def more_lines(self) -> int:
        """How many cache lines more in all."""
        return sum(more for _, more in self.lines)


def differences(strategy: Strategy, release: Release, base: Strategy = linux) -> tuple[Difference, ...]:
    """Every path under one design, less the same path under `base`."""
    found = []
    for one, other in zip(price(strategy, release), price(base, release), strict=True):
        more = Counter(dict(one.lines))
        more.subtract(dict(other.lines))
        found.append(
            Difference(
                one.path,
                one.steps - other.steps,
                one.atomics - other.atomics,
                tuple(sorted((kind, count) for kind, count in more.items() if count)),
                one.waits and not other.waits,
            )
        )
    return tuple(found)


# ---- what counts as an atomic, and which line a field lies in

NO_MEMORY: Final = frozenset({"word", "tlb", "pages_made", "ios_made", "memfds_made", "started"})
"""Fields that are no words of the kernel's: a page's own memory, a CPU's TLB, the model's bookkeeping."""

UNDER_A_LOCK: Final = frozenset({"i_mmap", "mmap", "open_fds", "queue", "seals"})
"""Fields that `update` changes under a lock, or that stand for a whole structure."""

PAGE_LINE: Final = frozenset({"_refcount", "_mapcount", "_pincount", "flags", "lru", "mapping", "index", "PG_locked"})
"""Two of them are no fields of Linux: `_pincount` is part of `_refcount` there, `lru` of `flags`."""
LINES: Final[dict[str, tuple[str, str]]] = {
    "i_mmap_writable": ("address_space", "i_mmap"),
    "i_mmap": ("address_space", "i_mmap"),
    "i_mmap_mutex": ("address_space", "i_mmap"),
    "i_pages": ("i_pages", ""),
    "i_flags": ("inode", "i_mode"),
    "i_mode": ("inode", "i_mode"),
    "i_size": ("inode", "i_size"),
    "i_mutex": ("inode", "i_mutex"),
    "seals": ("inode", "seals"),
    "mmap_lock": ("mm", "mmap_lock"),
    "page_table_lock": ("mm", "mmap_lock"),
    "mmap": ("mm", "mmap"),
    "pte": ("page table", ""),
    "reqs_active": ("task", "kioctx"),
}
"""By field: the kind of object, and which of its lines; '' where it is told by the field's own number."""

ENTRIES_PER_LINE: Final = 8
OWNERS: Final = ((Page, "page"), (AddressSpace, "address_space"), (Inode, "inode"), (Mm, "mm"), (Process, "task"))


def is_atomic(step: Step[Any], world: World) -> bool:
    """Whether the step is a locked read-modify-write.  A spinlock is given back by a plain store."""
    field = field_of(step)
    if step.access not in (Access.ADD, Access.WRITE) or step.word == "store" or field in NO_MEMORY:
        return False
    if step.word in ("update", "fetch_update") and field in UNDER_A_LOCK:
        return False
    return not (step.releases and isinstance(world.named(step.cell.name), SpinLock))


def line_of(step: Step[Any], world: World, *, in_page: bool) -> tuple[str, str] | None:
    """The cache line that a step touches: (kind of object, which one); None for what is no memory of the kernel's."""
    name: str = step.cell.name
    owner, _, _ = name.rpartition(".")
    field = field_of(step)
    if field in NO_MEMORY:
        return None
    kind = next((text for cls, text in OWNERS if isinstance(world.named(owner), cls)), "other")
    if kind == "page" and (in_page or field in PAGE_LINE):
        return kind, owner
    if field not in LINES:
        return kind, name
    kind, line = LINES[field]
    return kind, f"{owner}.{line or number_of(name)}"


def field_of(step: Step[Any]) -> str:
    """`pte` of `main.mm.pte[0x10000]`."""
    field: str = step.cell.name.rpartition(".")[2]
    return field.partition("[")[0]


def number_of(name: str) -> str:
    """Which line of eight an entry of a table lies in."""
    number = int(name.rpartition("[")[2].rstrip("]"), 0)
    return str((number // PAGE_SIZE if "pte[" in name else number) // ENTRIES_PER_LINE)


def in_page(strategy: Strategy) -> bool:
    """Whether the fields that the design adds lie in struct page, by its own budget."""
    return strategy.budget.struct_page_bytes_64 > 0
