"""The books that must balance when everything is at rest: references, counters, open files, clean pages, views."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from mmsim.cells import Cell, Handle, World, wrapped
from mmsim.check.contents import file_content
from mmsim.check.promises import evicted, programs, promises
from mmsim.engine.tables import Fault, View
from mmsim.kernel.strategy import Strategy, linux
from mmsim.kernel.types import (
    PG_DIRTY,
    PG_WRITEBACK,
    VM_DENYWRITE,
    AddressSpace,
    File,
    Inode,
    Mm,
    Page,
    Pin,
    Process,
    References,
    SuperBlock,
)
from mmsim.syscalls import PAGE_SIZE

_NOTES_PINS = (
    "pin",
    "unpin",
    "put_page",
    "map_writable",
    "unmap_writable",
    "before_unmap_writable",
    "after_zap_writable",
)
"""Where a design can count a pin that outlives its mapping; one that leaves these alone counts mappings and no more."""

LEAK = "no page is leaked"
COUNT = "i_mmap_writable is back at its resting value"
AGREE = "MAP_SHARED views agree"
COUNTED = "what a design counts is back at its resting value"
CLEAN = "a clean page is what the disk has"
TAGGED = "the flusher knows of every dirty page"
FILES = "no open file is leaked"
WRITERS = "the writers of a mount are back at their resting value"
WRITECOUNT = "i_writecount is back at its resting value"


class Books:
    """What is counted in one machine, held against what there is to count under the design in force."""

    def __init__(self, world: World, strategy: Strategy = linux) -> None:
        self.world = world
        self.strategy = strategy
        self.notes_pins = any(getattr(strategy, name) is not getattr(linux, name) for name in _NOTES_PINS)

    def at_rest(self, view: View) -> Fault | None:
        """What does not balance in a state in which every thread has ended and every device is idle, if anything."""
        return (
            self._leaks(view) or self._counters(view) or self._counted(view) or self._views(view) or self._mounts(view)
        )

    def _leaks(self, view: View) -> Fault | None:
        cached: dict[Page, int] = {}
        for inode in self.world.of(Inode):
            if inode.sb.kind == "dma-buf" or evicted(view, inode):
                continue  # the one lists its pages and says by itself how it holds them, the other has none
            for index in range(-(-view[inode.i_size] // PAGE_SIZE)):
                page = view[inode.mapping.slot(index)]
                if page is not None:
                    cached[page] = cached.get(page, 0) + page.nr_pages
            if inode.sb.block_backed:
                self._beyond_the_end(view, inode, cached)
        mapped: dict[Page, int] = {}
        for mm in self.world.of(Mm):
            for vma in view[mm.mmap]:
                for address in vma.pages():
                    pte = view[mm.pte(address)]
                    if pte is not None and not pte.special:
                        mapped[pte.page] = mapped.get(pte.page, 0) + 1
        held: Counter[Page] = Counter()
        for each in self._held(view):
            if isinstance(each, Pin):
                held[each.page] += self.strategy.references(each)
            elif isinstance(each, References):
                held[each.page] += each.count
            else:
                held[each] += 1
        for page in self.world.of(Page):
            due = wrapped(cached.get(page, 0) + mapped.get(page, 0) + held[page])
            if view[page.refcount] != due:
                return (LEAK, f"{page} has {view[page.refcount]} references at rest, and {due} can be accounted for")
            if view[page.mapcount] != mapped.get(page, 0):
                return (LEAK, f"{page} has a map count of {view[page.mapcount]}, and {mapped.get(page, 0)} PTEs map it")
        return None

    def _held(self, view: View) -> Iterator[Page | Pin | References]:
        """All that somebody holds who is neither a page cache nor a page table nor a device."""
        for handle in self.world.of(Handle):
            yield from handle.holds(view)

    def _beyond_the_end(self, view: View, inode: Inode, cached: dict[Page, int]) -> None:
        """A read that a truncation overtakes leaves its page in the cache of a disk's file, as in Linux."""
        for page in self.world.of(Page):
            if page not in cached and view[inode.mapping.slot(view[page.index])] is page:
                cached[page] = page.nr_pages

    def _counters(self, view: View) -> Fault | None:
        held = [each for each in self._held(view) if isinstance(each, Pin)] if self.notes_pins else []
        for inode in self.world.of(Inode):
            if evicted(view, inode):
                continue
            # Such a design may count a pin that somebody keeps, however often its page was unmapped, as it sees fit.
            pinned = any(self._may_count(view, inode, pin) for pin in held)
            count = view[inode.mapping.i_mmap_writable]
            shared = sum(vma.shared for _, vma in view[inode.mapping.i_mmap])
            denied = bool(promises(view, inode) or programs(view, inode))
            too_low = count < (0 if self._narrow(view, inode) else shared)
            if (count > shared and not pinned) or (too_low and not denied):
                return (COUNT, f"i_mmap_writable of {inode.name} is {count} at rest, with {shared} shared mappings")
        return None

    def _may_count(self, view: View, inode: Inode, pin: Pin) -> bool:
        """Whether a pin may show in this file's counter: it is of one of its pages, or of one that was cut off."""
        return not pin.private and (inode.sb.kind == "dma-buf" or view[pin.page.mapping] in {inode.mapping, None})

    def _narrow(self, view: View, inode: Inode) -> bool:
        """Whether some mapping is shared but does not count, as a read-only one of a sealed file since v6.7."""
        return any(vma.shared and not vma.flags & 0x20 for _, vma in view[inode.mapping.i_mmap])

    def _counted(self, view: View) -> Fault | None:
        pinned = {each.page for each in self._held(view) if isinstance(each, Pin)}
        for owner in (*self.world.of(Page), *self.world.of(AddressSpace)):
            if owner in pinned or (pinned and isinstance(owner, AddressSpace)):
                continue  # somebody keeps a pin, and it may be counted
            for field in self.strategy.counts:
                cell = self.world.named(f"{owner.name}.{field}")
                if isinstance(cell, Cell) and view[cell] != cell.initial:
                    return (COUNTED, f"{cell.name} is {view[cell]} at rest, and began as {cell.initial}")
        return None

    def _views(self, view: View) -> Fault | None:
        for inode in self.world.of(Inode):
            for mm, vma in view[inode.mapping.i_mmap]:
                for address in vma.pages():
                    pte = view[mm.pte(address)]
                    cached = view[inode.mapping.slot(vma.index(address))]
                    if vma.shared and pte is not None and pte.page is not cached:
                        return (AGREE, f"{mm} maps {pte.page} at {address:#x}, and the cache has {cached}")
        return None

    def _mounts(self, view: View) -> Fault | None:
        """Open files, writers of mounts and of files, and clean pages."""
        held: dict[File, int] = {}
        for process in self.world.of(Process):
            for number in view[process.open_fds]:
                file = view[process.fd(number)]
                if file is not None:
                    held[file] = held.get(file, 0) + 1
            for vma in view[process.mm.mmap]:
                held[vma.file] = held.get(vma.file, 0) + 1
            exe = view[process.mm.exe_file]
            if exe is not None:
                held[exe.file] = held.get(exe.file, 0) + 1
        files = [file for file in self.world.of(File) if file.counted and not file.f_op]
        for file in files:
            if view[file.f_count] != held.get(file, 0):
                return (FILES, f"{file} has {view[file.f_count]} references at rest, and {held.get(file, 0)} are known")
        for inode in self.world.of(Inode):
            due = sum(file.inode is inode for file in held)
            if inode.sb.evicts and view[inode.i_count] != due:
                return (FILES, f"{inode} has {view[inode.i_count]} references at rest, and {due} open files are known")
        writing = [file for file in files if file.writable and not file.inode.sb.internal and file in held]
        for sb in self.world.of(SuperBlock):
            due = sum(file.inode.sb is sb for file in writing)
            if view[sb.mnt_writers] != due:
                return (WRITERS, f"{sb} has {view[sb.mnt_writers]} writers at rest, and {due} files are open so")
        for inode in self.world.of(Inode):
            due = sum(file.inode is inode for file in writing)
            due -= sum(bool(vma.flags & VM_DENYWRITE) for _, vma in view[inode.mapping.i_mmap])
            due -= sum(exe.denies for exe in programs(view, inode))
            if view[inode.i_writecount] != due:
                return (WRITECOUNT, f"i_writecount of {inode.name} is {view[inode.i_writecount]} at rest, not {due}")
        return self._clean(view)

    def _clean(self, view: View) -> Fault | None:
        for inode in self.world.of(Inode):
            size = view[inode.i_size] if inode.sb.block_backed else 0
            for index in range(-(-size // PAGE_SIZE)):
                page = view[inode.mapping.slot(index)]
                if page is None or PG_WRITEBACK in view[page.flags]:
                    continue
                if PG_DIRTY in view[page.flags]:
                    if (inode, index) not in view[inode.sb.b_dirty]:
                        return (TAGGED, f"page {index} of {inode.name} is dirty, and not among those to be written")
                    continue
                below = size - index * PAGE_SIZE
                if file_content(view, inode, index)[:below] != view[inode.disk(index)][:below]:
                    return (CLEAN, f"page {index} of {inode.name} is clean, and the disk has something else")
        return None
