"""The properties that are always on: judged at every step that could break them, and when everything is at rest.

F_SEAL_WRITE, a remount read-only, S_IMMUTABLE and an execve() that denies writers are one promise here: the content
stays (`mmsim.check.promises`).  At rest the books must balance (`mmsim.check.books`).

A step is judged if it changes a watched cell: a word of a page, a slot of a page cache, a size, a page on a disk, the
result of an I/O.

What needs no knowledge of memory management is judged by the engine: deadlocks (`mmsim.engine.search`), livelocks
(`mmsim.engine.progress`), locks and contexts (`mmsim.engine.automaton`, `mmsim.engine.lockdep`).
"""

from __future__ import annotations

import re
from typing import Any

from mmsim.cells import Cell, World
from mmsim.check.books import Books
from mmsim.check.contents import file_content, page_content
from mmsim.check.promises import REMOUNTED, SEALED, evicted, promises
from mmsim.engine.tables import Fault, Places, Tables, View
from mmsim.kernel.direct_io import transferred
from mmsim.kernel.strategy import Strategy, linux
from mmsim.kernel.types import (
    PG_UPTODATE,
    PG_WRITEBACK,
    TRUNCATED,
    VM_MAYWRITE,
    AddressSpace,
    BlockDevice,
    Inode,
    InPlaceOf,
    Io,
    Mm,
    Page,
    Pin,
    Vma,
)
from mmsim.steps import Step
from mmsim.syscalls import F_SEAL_GROW, F_SEAL_SHRINK, PAGE_SIZE

_FIELD = re.compile(r"(?P<owner>.*)\.(?P<field>word|i_pages|i_size|disk|result|_pincount)(\[(?P<number>[0-9]+)\])?")
_WATCHED = {"word": Page, "i_pages": AddressSpace, "i_size": Inode, "disk": Inode, "result": Io, "_pincount": Page}

SIZE = "a sealed size never changes"
LOST = "no completed I/O is lost to a buffer that is still mapped"
MOVED = "a page that takes another's place has its content"
STABLE = "a page does not change while the disk reads it"


class AlwaysOn:
    """The always-on properties of one machine under the design in force."""

    def __init__(self, world: World, strategy: Strategy = linux) -> None:
        self.world = world
        self.books = Books(world, strategy)

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
            # One that is used again begins with None, and its device may be about to forget what it was before.
            return None if after[handle.result] is None else self._lost(before, handle, None)
        if field == "_pincount":
            return self._lost(before, None, handle) if after[handle.pincount] < before[handle.pincount] else None
        if field == "i_size":
            return self._size(before, after, handle)
        if field == "disk":
            return self._disk(before, after, handle, number)
        if field == "i_pages":
            return self._slot(before, after, handle, number)
        lost = self._missed(before, handle) if step.operands[:1] == (transferred,) else None
        return lost or self._word(before, after, handle, number)

    def resting(self, tables: Tables, places: Places) -> Fault | None:
        """Judge a state in which every thread has ended and every device is idle."""
        return self.at_rest(tables.view(places))

    def at_rest(self, view: View) -> Fault | None:
        """The same of a state that is looked up by cell."""
        return self.books.at_rest(view)

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
        if not promised or below <= 0:
            return self._moved(before, after, mapping, index, below)
        old, new = (file_content(view, inode, index)[:below] for view in (before, after))
        if old.rstrip(b"\0") != new.rstrip(b"\0"):
            first = promised[0]
            return (first.property, f"page {index} of {inode.name} gets another content after {first.given}")
        return self._moved(before, after, mapping, index, below)

    def _moved(self, before: View, after: View, mapping: AddressSpace, index: int, below: int) -> Fault | None:
        """Migration and designs that replace pages: what was there before is still there.

        A frozen page has no other user, and whoever takes its place by migration says that it was one.  One that a
        design replaces with its references left may be written between the copy and this moment, by a device, a
        process_vm_writev() or a store through a stale TLB, and such designs say that this write is lost; what a device
        wrote is LOST's to judge.  So of such a page only what was never copied counts: a word that is still zeros.
        """
        old, new = before[mapping.slot(index)], after[mapping.slot(index)]
        if old is None or new is None:
            return None
        frozen = not before[old.refcount] or InPlaceOf(old) in before[new.flags]
        if not frozen and self._may_be_written(before, old):
            return None
        end = PAGE_SIZE if frozen else below  # a mapping shows what is beyond the file's end as well
        had, has = page_content(before, old)[:end], page_content(before, new)[:end]
        word = len(before[new.word(0)])
        missing = [at for at in range(0, end, word) if had[at : at + word] != has[at : at + word]]
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

    def _size(self, before: View, after: View, inode: Inode) -> Fault | None:
        if evicted(before, inode):
            return None  # it becomes another file's
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
                    if shown is None or shown is pin.page or InPlaceOf(pin.page) in before[shown.flags]:
                        continue
                    # The pin is gone by now, so a design may have put another page in its place, with its content.
                    written = request.data[number * PAGE_SIZE :][:PAGE_SIZE]
                    if not page_content(before, shown).startswith(written):
                        return (LOST, f"{request.io} wrote {pin.page}, but {request.mm} has {shown} at {address:#x}")
        return None

    def _missed(self, before: View, page: Page) -> Fault | None:
        """A device writes a page whose place another took before that: by migration, with all there was until then.

        So if it is not too late now, the heir has what the device wrote, whatever CPUs have written over it since.
        """
        for device in self.world.of(BlockDevice):
            for request in before[device.queue][:1]:
                for number, pin in enumerate(request.pins):
                    address = request.address + number * PAGE_SIZE
                    if pin.page is not page or pin.private or request.data is None:
                        continue
                    vma = self._still_mapped(before, request.mm, address, pin)
                    if vma is None:
                        continue
                    heir = before[vma.file.inode.mapping.slot(vma.index(address))]
                    if heir is not None and InPlaceOf(page) in before[heir.flags]:
                        return (LOST, f"{request.io} writes {page}, but {heir} is in its place at {address:#x}")
        return None

    def _shown(self, view: View, mm: Mm, address: int, pin: Pin) -> Page | None:
        """The page the CPU finds where a page that may be written was pinned, without or with a fault.

        In a private mapping no page, or the file's, is what whoever dropped his copy asked for (MADV_DONTNEED).
        """
        vma = self._still_mapped(view, mm, address, pin)
        if vma is None:
            return None
        pte = view[mm.pte(address)]
        if pin.private:
            return pte.page if pte is not None and pte.anon else None
        return pte.page if pte is not None else view[vma.file.inode.mapping.slot(vma.index(address))]

    def _still_mapped(self, view: View, mm: Mm, address: int, pin: Pin) -> Vma | None:
        """The mapping through which a page that may be written was pinned; None if it is gone.

        One that has taken its place is told by what it is: a file's page that could be written was pinned through a
        shared mapping of it that may be writable, a private copy through a private one.

        Not told apart: a private mapping from another at the same address, and a shared one from another of the same
        page; the first can be a false alarm, if it was stored to.  A number in each VMA would do it, at the price of
        states that differ in nothing but who called mmap() first.
        """
        vma: Vma | None = next((vma for vma in view[mm.mmap] if vma.start <= address < vma.end), None)
        if vma is None or vma.shared == pin.private or not vma.flags & VM_MAYWRITE:
            return None
        if not pin.private and self._is_of_another_page(view, vma, address, pin.page):
            return None
        return vma

    def _is_of_another_page(self, view: View, vma: Vma, address: int, page: Page) -> bool:
        """Whether a shared mapping can never have shown this page there, nor what it was replaced by.

        A page out of the cache keeps its index but not its file, and a dma-buf maps pages of another file.  A page that
        was cut off is no file's any more, whatever is mapped at its index since.
        """
        if TRUNCATED in view[page.flags]:
            return True
        mapping = vma.file.inode.mapping
        if vma.file.inode.sb.kind == "dma-buf" or page.nr_pages > 1:
            return False
        return view[page.mapping] not in {None, mapping} or view[page.index] != vma.index(address)
