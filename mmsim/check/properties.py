"""The properties that are always on: judged at every step that could break them, and when everything is at rest.

F_SEAL_WRITE, a remount read-only, S_IMMUTABLE and an execve() that denies writers are one promise here (`promises`):
the content stays.

What a seal promises is stated exactly.  F_SEAL_WRITE forbids changing content by writing, not by truncation: no step
may change a byte that lies below the file's size before and after it, as anybody sees it who reads the file or maps
it.  F_SEAL_SHRINK and F_SEAL_GROW forbid the size itself to fall or rise; so with F_SEAL_WRITE and F_SEAL_SHRINK no
byte below the size ever changes.

A read-only mount, an immutable file and a program that runs promise more: there the size stays as well, and what the
disk of a read-only mount has of the file.

A step is judged if it changes a watched cell: a word of a page, a slot of a page cache, a size, a page on a disk, the
result of an I/O.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import attrs

from mmsim.cells import Cell, Handle, World, wrapped
from mmsim.engine.tables import Fault, Places, Tables, View
from mmsim.kernel.strategy import Strategy, linux
from mmsim.kernel.types import (
    PG_DIRTY,
    PG_UPTODATE,
    PG_WRITEBACK,
    VM_DENYWRITE,
    VM_MAYWRITE,
    AddressSpace,
    BlockDevice,
    ExeFile,
    File,
    Inode,
    Io,
    Mm,
    Page,
    Pin,
    Process,
    References,
    SuperBlock,
    Vma,
)
from mmsim.steps import Step
from mmsim.syscalls import F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_WRITE, FS_IMMUTABLE_FL, PAGE_SIZE

_FIELD = re.compile(r"(?P<owner>.*)\.(?P<field>word|i_pages|i_size|disk|result|_pincount)(\[(?P<number>[0-9]+)\])?")
_WATCHED = {"word": Page, "i_pages": AddressSpace, "i_size": Inode, "disk": Inode, "result": Io, "_pincount": Page}

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

SEALED = "sealed content never changes"
REMOUNTED = "content of a read-only mount never changes"
IMMUTABLE = "immutable content never changes"
EXECUTED = "the text of a running program never changes"
SIZE = "a sealed size never changes"
LOST = "no completed I/O is lost to a buffer that is still mapped"
MOVED = "a page that takes another's place has its content"
LEAK = "no page is leaked"
COUNT = "i_mmap_writable is back at its resting value"
AGREE = "MAP_SHARED views agree"
COUNTED = "what a design counts is back at its resting value"
STABLE = "a page does not change while the disk reads it"
CLEAN = "a clean page is what the disk has"
FILES = "no open file is leaked"
WRITERS = "the writers of a mount are back at their resting value"
WRITECOUNT = "i_writecount is back at its resting value"


@attrs.frozen
class Promise:
    """A property's name, and the words for what promised it."""

    property: str
    given: str


def promises(view: View, inode: Inode) -> list[Promise]:
    """What keeps this file's content as it is, in this state."""
    found = []
    if view[inode.seals] & F_SEAL_WRITE:
        found.append(Promise(SEALED, "F_SEAL_WRITE was granted"))
    if view[inode.sb.s_readonly]:
        found.append(Promise(REMOUNTED, f"{inode.sb} was remounted read-only"))
    if view[inode.i_flags] & FS_IMMUTABLE_FL:
        found.append(Promise(IMMUTABLE, "S_IMMUTABLE was set"))
    if view[inode.i_writecount] < 0 and programs(view, inode):
        # Not while execve() still asks: the promise is made when it can no longer fail.
        found.append(Promise(EXECUTED, "execve() denied writers"))
    return found


def programs(view: View, inode: Inode) -> list[ExeFile]:
    """The running programs whose text this file is."""
    running = (view[mm.exe_file] for mm in inode.world.of(Mm))
    return [exe for exe in running if exe is not None and exe.file.inode is inode]


class AlwaysOn:
    """The always-on properties of one machine under the design in force."""

    def __init__(self, world: World, strategy: Strategy = linux) -> None:
        self.world = world
        self.strategy = strategy
        self.notes_pins = any(getattr(strategy, name) is not getattr(linux, name) for name in _NOTES_PINS)

    def watched(self, cell: Cell[Any]) -> bool:
        """Whether a change of this cell has to be judged."""
        return self._owner(cell) is not None

    def _owner(self, cell: Cell[Any]) -> tuple[str, Any, int] | None:
        match = _FIELD.fullmatch(cell.name)
        if match is None:
            return None
        owner = self.world.named(match["owner"])
        if not isinstance(owner, _WATCHED[match["field"]]):
            return None
        return match["field"], owner, int(match["number"] or 0)

    def judge(self, before: View, after: View, step: Step[Any]) -> Fault | None:
        """What a step that changes a watched cell breaks, if anything."""
        owner = self._owner(step.cell)
        assert owner is not None
        field, handle, number = owner
        if field == "result":
            return self._lost(before, handle, None)
        if field == "_pincount":
            return self._lost(before, None, handle) if after[handle.pincount] < before[handle.pincount] else None
        if field == "i_size":
            return self._size(before, after, handle)
        if field == "disk":
            return self._disk(before, after, handle, number)
        if field == "i_pages":
            return self._slot(before, after, handle, number)
        return self._word(before, after, handle, number)

    # ---- a step at a time

    def _word(self, before: View, after: View, page: Page, number: int) -> Fault | None:
        mapping = before[page.mapping]
        if mapping is not None and mapping.host.sb.block_backed:
            flags = before[page.flags]
            if PG_UPTODATE not in flags:
                return None  # it is being read from the disk: nobody sees it yet
            if PG_WRITEBACK in flags and mapping.host.sb.stable:
                return (STABLE, f"{page} word {number}, page {before[page.index]} of {mapping.host}, changes under it")
        for inode in self.world.of(Inode):
            promised = promises(before, inode)
            if not promised:
                continue
            old, new = before[page.word(number)], after[page.word(number)]
            for index, where in self._seen_at(before, inode, page):
                start = index * PAGE_SIZE + number * len(new)
                size = before[inode.i_size] - start
                if size > 0 and old[:size] != new[:size]:
                    first = promised[0]
                    return (first.property, f"{page} word {number}, {where}, changes after {first.given}")
        return None

    def _seen_at(self, view: View, inode: Inode, page: Page) -> list[tuple[int, str]]:
        """Where the file shows this page: as a page of its cache, or through a shared mapping."""
        mapping = inode.mapping
        pages = -(-view[inode.i_size] // PAGE_SIZE)
        found = [
            (index, f"page {index} of {inode.name}") for index in range(pages) if view[mapping.slot(index)] is page
        ]
        if found:
            return found
        for mm, vma in view[mapping.i_mmap]:
            for address in vma.pages():
                pte = view[mm.pte(address)]
                if pte is not None and pte.page is page and not pte.anon:
                    found.append((vma.index(address), f"mapped at {address:#x} in {mm}"))
        return found

    def _slot(self, before: View, after: View, mapping: AddressSpace, index: int) -> Fault | None:
        inode = self._inode(mapping)
        below = before[inode.i_size] - index * PAGE_SIZE
        promised = promises(before, inode)
        if below <= 0:
            return None
        if not promised:
            return self._moved(before, after, mapping, index, below)
        old, new = (self._content(view, inode, index)[:below] for view in (before, after))
        if old.rstrip(b"\0") != new.rstrip(b"\0"):
            first = promised[0]
            return (first.property, f"page {index} of {inode.name} gets another content after {first.given}")
        return self._moved(before, after, mapping, index, below)

    def _moved(self, before: View, after: View, mapping: AddressSpace, index: int, below: int) -> Fault | None:
        """Migration and designs that replace pages: what was there before is still there.

        A frozen page has no other user.  One that a design replaces with its references left may be written between
        the copy and this moment, by a device, a process_vm_writev() or a store through a stale TLB, and such designs
        say that this write is lost; what a device wrote is LOST's to judge.  So of such a page only what was never
        copied counts: a word that is still zeros.
        """
        old, new = before[mapping.slot(index)], after[mapping.slot(index)]
        frozen = old is not None and not before[old.refcount]
        if old is None or new is None or (not frozen and self._may_be_written(before, old)):
            return None
        had, has = self._memory(before, old)[:below], self._memory(before, new)[:below]
        word = len(before[new.word(0)])
        missing = [at for at in range(0, below, word) if had[at : at + word] != has[at : at + word]]
        if any(frozen or not has[at : at + word].strip(b"\0") for at in missing):
            return (
                MOVED,
                f"{new} takes the place of {old}, page {index} of {mapping.host.name}, and has other content",
            )
        return None

    def _may_be_written(self, view: View, page: Page) -> bool:
        """Whether others than CPUs that map the file may write it: some I/O was submitted, or a dma-buf has it."""
        held = [each for inode in self.world.of(Inode) if inode.sb.kind == "dma-buf" for each in inode.holds(view)]
        return any((each.page if isinstance(each, Pin) else each) is page for each in held) or any(
            view[cell] for cell in self.world.of(Cell) if cell.name.endswith(".ios_made")
        )

    def _inode(self, mapping: AddressSpace) -> Inode:
        return self.world.handle(Inode, mapping.name.removesuffix(".i_data"))

    def _content(self, view: View, inode: Inode, index: int) -> bytes:
        """What a reader of the file finds there."""
        page = view[inode.mapping.slot(index)]
        if inode.sb.block_backed and (page is None or PG_UPTODATE not in view[page.flags]):
            return view[inode.disk(index)]
        return b"" if page is None else self._memory(view, page)

    def _memory(self, view: View, page: Page) -> bytes:
        return b"".join(view[page.word(number)] for number in range(self._words(view, page)))

    def _words(self, view: View, page: Page) -> int:
        return PAGE_SIZE // len(view[page.word(0)]) or 1

    def _size(self, before: View, after: View, inode: Inode) -> Fault | None:
        seals, old, new = before[inode.seals], before[inode.i_size], after[inode.i_size]
        if new < old and seals & F_SEAL_SHRINK:
            return (SIZE, f"{inode.name} shrinks from {old} to {new} bytes after F_SEAL_SHRINK was granted")
        if new > old and seals & F_SEAL_GROW:
            return (SIZE, f"{inode.name} grows from {old} to {new} bytes after F_SEAL_GROW was granted")
        for promised in promises(before, inode):
            if promised.property != SEALED:
                return (promised.property, f"{inode.name} has {new} bytes, not {old}, after {promised.given}")
        return None

    def _disk(self, before: View, after: View, inode: Inode, index: int) -> Fault | None:
        size = before[inode.i_size] - index * PAGE_SIZE
        old, new = before[inode.disk(index)], after[inode.disk(index)]
        if before[inode.sb.s_readonly] and size > 0 and old[:size] != new[:size]:
            return (REMOUNTED, f"page {index} of {inode.name} changes on the disk of {inode.sb}")
        return None

    def _lost(self, before: View, io: Io | None, unpinned: Page | None) -> Fault | None:
        """The moment an I/O completes: whoever still has the buffer mapped must find there what the device wrote.

        Where fork() heeds the pin it is the moment the pin is given back: from then on the page may be copied.
        """
        for device in self.world.of(BlockDevice):
            for request in before[device.queue][:1]:
                for number, pin in enumerate(request.pins):
                    if request.data is None or (pin.page is not unpinned if pin.counted else request.io is not io):
                        continue
                    address = request.address + number * PAGE_SIZE
                    shown = self._shown(before, request.mm, address, pin)
                    if shown is None or shown is pin.page:
                        continue
                    # The pin is gone by now, so the page may have moved; then its heir has what the device wrote.
                    written = request.data[number * PAGE_SIZE :][:PAGE_SIZE]
                    if not self._memory(before, shown).startswith(written):
                        return (LOST, f"{request.io} wrote {pin.page}, but {request.mm} has {shown} at {address:#x}")
        return None

    def _shown(self, view: View, mm: Mm, address: int, pin: Pin) -> Page | None:
        """The page the CPU finds where a page that may be written was pinned, without or with a fault.

        None if that mapping is gone.  One that has taken its place is told by what it is: a file's page that could be
        written was pinned through a shared mapping of it that may be writable, a private copy through a private one.
        In the latter no page, or the file's, is what whoever dropped his copy asked for (munmap(), MADV_DONTNEED).

        Not told apart: a private mapping from another at the same address, and a shared one from another of the same
        page; the first can be a false alarm, if it was stored to.  A number in each VMA would do it, at the price of
        states that differ in nothing but who called mmap() first.
        """
        vma: Vma | None = next((vma for vma in view[mm.mmap] if vma.start <= address < vma.end), None)
        if vma is None or vma.shared == pin.private or not vma.flags & VM_MAYWRITE:
            return None
        pte = view[mm.pte(address)]
        if not pin.private and self._is_of_another_page(view, vma, address, pin.page):
            return None
        if pin.private:
            return pte.page if pte is not None and pte.anon else None
        return pte.page if pte is not None else view[vma.file.inode.mapping.slot(vma.index(address))]

    def _is_of_another_page(self, view: View, vma: Vma, address: int, page: Page) -> bool:
        """Whether a shared mapping can never have shown this page there, nor what it was replaced by.

        A page out of the cache keeps its index but not its file, and a dma-buf maps pages of another file.
        """
        mapping = vma.file.inode.mapping
        if vma.file.inode.sb.kind == "dma-buf" or page.nr_pages > 1:
            return False
        return view[page.mapping] not in {None, mapping} or view[page.index] != vma.index(address)

    # ---- at rest

    def resting(self, tables: Tables, places: Places) -> Fault | None:
        """Judge a state in which every thread has ended and every device is idle."""
        return self.at_rest(tables.view(places))

    def at_rest(self, view: View) -> Fault | None:
        """The same of a state that is looked up by cell."""
        return (
            self._leaks(view) or self._counters(view) or self._counted(view) or self._views(view) or self._mounts(view)
        )

    def _leaks(self, view: View) -> Fault | None:
        cached: dict[Page, int] = {}
        for inode in self.world.of(Inode):
            if inode.sb.kind == "dma-buf":
                continue  # which lists its pages and says by itself how it holds them
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
        files = [file for file in self.world.of(File) if not file.inode.sb.internal]
        for file in files:
            if view[file.f_count] != held.get(file, 0):
                return (FILES, f"{file} has {view[file.f_count]} references at rest, and {held.get(file, 0)} are known")
        for sb in self.world.of(SuperBlock):
            due = sum(file.writable and file.inode.sb is sb and file in held for file in files)
            if view[sb.mnt_writers] != due:
                return (WRITERS, f"{sb} has {view[sb.mnt_writers]} writers at rest, and {due} files are open so")
        for inode in self.world.of(Inode):
            due = sum(file.writable and file.inode is inode and file in held for file in files)
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
                if page is None or view[page.flags] & {PG_DIRTY, PG_WRITEBACK}:
                    continue
                below = size - index * PAGE_SIZE
                if self._content(view, inode, index)[:below] != view[inode.disk(index)][:below]:
                    return (CLEAN, f"page {index} of {inode.name} is clean, and the disk has something else")
        return None
