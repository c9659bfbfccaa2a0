"""The machine on which a log is replayed: the model's kernel, and who of the log's processes shares what with whom.

Descriptors keep the numbers and mappings the addresses that Linux gave them; the files and memory that the model does
not have (anonymous memory, files on disks, sockets) have no place here at all.  What cannot be read off the kernel's
own cells is a `State`: immutable values in dictionaries, so that a copy is cheap and a replay can go back to it.
"""

from __future__ import annotations

import functools
from collections.abc import Coroutine
from typing import Any, Final

import attrs

from mmsim.cells import World
from mmsim.conformance.sequential.model import run_alone
from mmsim.kernel.entry import SimSyscalls
from mmsim.kernel.file_table import fget
from mmsim.kernel.fork import copy_files, dup_mmap, exit_files
from mmsim.kernel.gup import get_user_pages_unlocked, unpin_pages
from mmsim.kernel.mmap import exit_mmap
from mmsim.kernel.open import open_inode
from mmsim.kernel.page_alloc import get_page, put_page
from mmsim.kernel.releases import Release
from mmsim.kernel.strategy import Strategy
from mmsim.kernel.types import Caller, Cpus, File, Inode, Kernel, Mm, Page, Pin, Process, Vma
from mmsim.syscalls import EBADF, EINVAL, PAGE_SIZE

UNUSED: Final = 1 << 30
"""Where a descriptor goes that the model gives out and Linux did not."""
LARGEST: Final = 64 << 20
"""Bytes of a file beyond which it is not followed: the model has a cell for each of its pages."""
CPU: Final = "cpu0"
HELD_AT_MOST: Final = 256
"""Pages of one region that are held in the model: one is as good as all to whoever looks for them."""
SEEK_SET, SEEK_CUR, SEEK_END = 0, 1, 2


class Task(Process):
    """A thread of the log, with an mm and descriptors of its own or somebody else's."""

    def __init__(self, world: World, name: str, mm: Mm | None = None, files: Process | None = None) -> None:
        super().__init__(world, name)
        self.mm = mm or self.mm
        self.files: Process = files.files if isinstance(files, Task) else files or self
        self.open_fds = self.files.open_fds if self.files is not self else self.open_fds

    def fd(self, number: int) -> Any:
        """The open file of that descriptor."""
        return self.cell(f"fd[{number}]", None) if self.files is self else self.files.fd(number)


def with_number(open_fds: tuple[int, ...], number: int) -> tuple[int, ...]:
    """The descriptor, taken."""
    return tuple(sorted({*open_fds, number}))


class LinuxCalls(SimSyscalls):
    """System calls of one task.  A descriptor gets the number that Linux gave it."""

    number: int | None = None

    async def _install(self, file: File) -> int:
        number = UNUSED if self.number is None else self.number
        await self.k.process.open_fds.update(with_number, number)
        await self.k.process.fd(number).store(file)
        return number

    async def dup_to(self, fd: int, number: int) -> int:
        """dup2(): what `number` was is closed.  Follows fs/file.c: do_dup2()."""
        file = await fget(self.k, fd)
        if file is None:
            return -EBADF
        await self.close(number)
        self.number = number
        return await self._install(file)

    async def lseek(self, fd: int, offset: int, whence: int) -> int:
        """lseek() with SEEK_SET, SEEK_CUR, SEEK_END.  Follows fs/read_write.c: generic_file_llseek_size()."""
        file = await self._file(fd)
        if file is None:
            return -EBADF
        base = {SEEK_CUR: file.f_pos, SEEK_END: file.inode.i_size}.get(whence)
        position = offset + (await base.load() if base is not None else 0)
        if position < 0:
            return -EINVAL
        await file.f_pos.store(position)
        return position

    async def reopen_file(self, file: File, flags: int) -> int:
        """open() of another process's /proc/PID/fd/N."""
        opened = await open_inode(self.k, file.inode, flags)
        return opened if isinstance(opened, int) else await self._install(opened)

    async def fstat(self, fd: int) -> tuple[int, int] | int:
        """fstat(): the size and the permissions."""
        file = await self._file(fd)
        return -EBADF if file is None else (await file.inode.i_size.load(), await file.inode.i_mode.load())


@attrs.frozen
class Holder:
    """A call that may hold pages, for as long as nobody knows: an I/O under way, a pipe that nobody has read yet."""

    line: int
    name: str
    pid: int | None
    """Whose call it is, if it is over when that call is; None where it goes on beyond."""
    pins: tuple[Pin, ...]
    pages: tuple[Page, ...] = ()
    mapped: tuple[Vma, ...] = ()
    """All that was mapped, where it is not known which of it the call was about."""


@attrs.define
class State:
    """What a log says beside what the kernel's cells hold.  All values are immutable."""

    tasks: dict[int, Task] = attrs.field(factory=dict)
    groups: dict[int, int] = attrs.field(factory=dict)
    """The thread group of each task."""
    cloexec: dict[str, frozenset[int]] = attrs.field(factory=dict)
    """By table of descriptors, those that execve() closes; and those that are known to be closed."""
    closed: dict[str, frozenset[int]] = attrs.field(factory=dict)
    unknown: frozenset[Inode] = frozenset()
    """Files that somebody may have stored to, or whose bytes the log does not show."""
    lost: dict[Inode, str] = attrs.field(factory=dict)
    """Files to which something was done that the model does not have, and what."""
    holders: tuple[Holder, ...] = ()
    exiting: frozenset[int] = frozenset()
    namespaces: dict[int, tuple[int, ...]] = attrs.field(factory=dict)
    """The pid namespaces that each task is in, the outermost first, by the line that made them."""
    noexec: dict[int, int] = attrs.field(factory=dict)
    """vm.memfd_noexec of each of them."""
    sysctls: dict[str, frozenset[int]] = attrs.field(factory=dict)
    """By table, the descriptors of that sysctl."""

    def copy(self) -> State:
        """The same, to be changed apart."""
        other = attrs.evolve(self)
        for name in COPIED:
            setattr(other, name, dict(getattr(self, name)))
        return other


COPIED: Final = ("tasks", "groups", "cloexec", "closed", "lost", "namespaces", "noexec", "sysctls")


class Values(dict[Any, Any]):
    """What the cells hold, with a journal of what they held before."""

    def __init__(self) -> None:
        super().__init__()
        self.journal: list[tuple[Any, bool, Any]] = []

    def __setitem__(self, cell: Any, value: Any) -> None:
        self.journal.append((cell, cell in self, self.get(cell)))
        super().__setitem__(cell, value)

    def back_to(self, length: int) -> None:
        """Undo all but the first `length` changes."""
        while len(self.journal) > length:
            cell, was_there, old = self.journal.pop()
            if was_there:
                super().__setitem__(cell, old)
            else:
                del self[cell]


Snapshot = tuple[int, State]
"""How long the journal was, and a copy of the state: good until the machine goes back to an earlier one."""


class Machine:
    """The model's kernel and the log's processes."""

    def __init__(self, strategy: Strategy, release: Release) -> None:
        self._world = World()
        self._strategy, self._release = strategy, release
        self._values = Values()
        self.state = State()

    def snapshot(self) -> Snapshot:
        """Where things stand, to come back to."""
        return len(self._values.journal), self.state.copy()

    def restore(self, snapshot: Snapshot) -> None:
        """Back to it; whatever was taken later is no good any more."""
        self._values.back_to(snapshot[0])
        self.state = snapshot[1].copy()

    def forget(self) -> None:
        """Nobody comes back to anything."""
        self._values.journal.clear()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Carry out a call to its end."""
        return run_alone(self._values, coroutine)

    def value(self, cell: Any) -> Any:
        """What a cell holds."""
        return self._values.get(cell, cell.initial)

    def kernel(self, task: Task) -> Kernel:
        """The kernel as that task sees it.  All tasks are on one CPU: nobody runs while another does."""
        cpus = Cpus(((task, (CPU,)),))
        return Kernel(CPU, self._world, task, self._strategy, self._release, 1, cpus)

    def calls(self, pid: int, number: int | None = None) -> LinuxCalls:
        """System calls of that task; a descriptor that one makes gets that number."""
        task = self.state.tasks[pid]
        calls = LinuxCalls(self.kernel(task), 0, {}, {}, alone=True)
        calls.number = number
        return calls

    # ---- what is where

    def file(self, pid: int, fd: int) -> File | None:
        """The open file of a descriptor, if the model has it."""
        file: File | None = self.value(self.state.tasks[pid].fd(fd))
        return file

    def vmas(self, pid: int, start: int = 0, length: int = 1 << 64) -> tuple[Vma, ...]:
        """The mappings of the model that a range touches."""
        mapped: tuple[Vma, ...] = self.value(self.state.tasks[pid].mm.mmap)
        return tuple(vma for vma in mapped if vma.start < start + length and start < vma.end)

    def files_of(self, pid: int) -> tuple[Inode, ...]:
        """The files that a task has open or mapped."""
        open_ = (self.file(pid, fd) for fd in self.value(self.state.tasks[pid].open_fds))
        mapped = (vma.file for vma in self.vmas(pid))
        return tuple(dict.fromkeys(file.inode for file in (*open_, *mapped) if file is not None))

    def known_closed(self, pid: int, fd: int) -> bool:
        """Whether the log itself says that the descriptor is closed."""
        return fd in self.state.closed.get(self.table(pid), frozenset())

    def table(self, pid: int) -> str:
        """The name of a task's table of descriptors."""
        return self.state.tasks[pid].files.name

    # ---- what is remembered

    def opened(self, pid: int, fd: int, *, cloexec: bool) -> None:
        """A descriptor is in use, by the model or by what it does not have."""
        table, state = self.table(pid), self.state
        state.closed[table] = state.closed.get(table, frozenset()) - {fd}
        flagged = state.cloexec.get(table, frozenset())
        state.cloexec[table] = flagged | {fd} if cloexec else flagged - {fd}

    def closed(self, pid: int, fd: int) -> None:
        """A descriptor is free."""
        table, state = self.table(pid), self.state
        state.closed[table] = state.closed.get(table, frozenset()) | {fd}
        state.cloexec[table] = state.cloexec.get(table, frozenset()) - {fd}
        state.sysctls[table] = state.sysctls.get(table, frozenset()) - {fd}

    def lose(self, inode: Inode, reason: str) -> None:
        """Something was done to a file that the model does not have: it is not asked about it any more."""
        self.state.lost.setdefault(inode, reason)

    def stored_to(self, inode: Inode) -> None:
        """The file's bytes are not known any more."""
        self.state.unknown |= {inode}

    # ---- processes

    def begin(self, pid: int, line: int) -> None:
        """A process that was there before the log began."""
        self.state.tasks[pid] = self._world.handle(Task, f"task{pid}@{line}")
        self.state.groups[pid] = pid
        self.state.namespaces[pid] = (0,)

    def clone(
        self, parent: int, pid: int, line: int, *, vm: bool, files: bool, thread: bool, namespace: bool = False
    ) -> None:
        """copy_process(): a child that shares the mm, or the descriptors, or neither.  Follows kernel/fork.c."""
        task = self.state.tasks[parent]
        made = functools.partial(Task, mm=task.mm if vm else None, files=task if files else None)
        child = self._world.handle(made, f"task{pid}@{line}")
        k = self.kernel(task)
        if not files:
            self.run(copy_files(k, child))
            self._inherit(task, child)
        if not vm:
            self.run(dup_mmap(k, child))
        self.state.tasks[pid] = child
        self.state.groups[pid] = self.state.groups[parent] if thread else pid
        if namespace:
            self.state.noexec[line] = self.memfd_noexec(parent)
        self.state.namespaces[pid] = (*self.state.namespaces[parent], *((line,) if namespace else ()))

    def _inherit(self, task: Task, child: Task) -> None:
        for known in (self.state.cloexec, self.state.closed, self.state.sysctls):
            known[child.name] = known.get(task.files.name, frozenset())

    def memfd_noexec(self, pid: int) -> int:
        """What vm.memfd_noexec says to a task.  Follows mm/memfd.c: pidns_memfd_noexec_scope(), v6.6."""
        return max(self.state.noexec.get(namespace, 0) for namespace in self.state.namespaces[pid])

    def execute(self, pid: int, line: int) -> None:
        """execve(): a new mm, and a table of one's own without what is marked close-on-exec."""
        group = self.state.groups[pid]
        for other in [one for one, of in self.state.groups.items() if of == group and one != pid]:
            self.end(other)
        task = self.state.tasks[pid]
        fresh = self._world.handle(Task, f"task{pid}@{line}")
        self.run(copy_files(self.kernel(task), fresh))
        self._inherit(task, fresh)
        self._leave(pid)
        self.state.tasks[pid] = fresh
        self.state.groups[pid] = group
        for fd in self.state.cloexec[fresh.name]:
            self.run(self.calls(pid).close(fd))
            self.closed(pid, fd)

    def unshare_files(self, pid: int, line: int) -> None:
        """unshare(CLONE_FILES): a table of one's own with the same in it."""
        task = self.state.tasks[pid]
        fresh = self._world.handle(functools.partial(Task, mm=task.mm), f"task{pid}@{line}")
        self.run(copy_files(self.kernel(task), fresh))
        self._inherit(task, fresh)
        group, holders = self.state.groups[pid], self.state.holders
        self.state.tasks[pid] = fresh
        self.state.tasks[UNUSED] = task
        self.state.groups[UNUSED], self.state.groups[pid] = group, group
        self._leave(UNUSED)
        self.state.holders = holders

    def end(self, pid: int) -> None:
        """The task is gone, and what nobody shares with it."""
        if pid in self.state.tasks:
            self._leave(pid)

    def _leave(self, pid: int) -> None:
        task = self.state.tasks.pop(pid)
        self.state.groups.pop(pid)
        self.state.exiting -= {pid}
        self.release(*(holder for holder in self.state.holders if holder.pid == pid))
        others = self.state.tasks.values()
        k = self.kernel(task)
        if all(other.mm is not task.mm for other in others):
            self.run(exit_mmap(k))
        if all(other.files is not task.files for other in others):
            self.run(exit_files(k))

    # ---- who holds pages

    def hold_memory(
        self,
        pid: int,
        line: int,
        name: str,
        regions: tuple[tuple[int, int], ...] | None,
        *,
        write: bool,
        lasting: bool,
    ) -> None:
        """A call may hold the pages of these regions (address, bytes): what the model has of them.

        None stands for regions that the log does not show, which may be any: one page of each mapping will do then.
        """
        k, pins = self.kernel(self.state.tasks[pid]), []
        mapped = self.vmas(pid) if regions is None else ()
        if regions is None and (not mapped or any(holder.mapped == mapped for holder in self.state.holders)):
            return
        if regions is None:
            regions = tuple((vma.start, PAGE_SIZE) for vma in mapped)
        for start, length in regions:
            for vma in self.vmas(pid, start, max(length, 1)):
                low = max(start & -PAGE_SIZE, vma.start)
                count = min(-(-(min(start + length, vma.end) - low) // PAGE_SIZE), HELD_AT_MOST)
                pinned, _ = self.run(get_user_pages_unlocked(k, k.mm, low, count, Caller.DIRECT_IO, write=write))
                pins += pinned
        if pins:
            owner = None if lasting else pid
            self.state.holders += (Holder(line, name, owner, tuple(pins), mapped=mapped),)

    def hold_file(self, line: int, name: str, file: File, first: int, last: int) -> None:
        """A pipe or a socket may hold these pages of a file."""
        pages = []
        for index in range(first, last):
            page = self.value(file.inode.mapping.slot(index))
            if page is not None:
                self.run(get_page(page))
                pages.append(page)
        if pages:
            self.state.holders += (Holder(line, name, None, (), tuple(pages)),)

    def release(self, *holders: Holder) -> None:
        """They hold nothing any more."""
        for holder in holders:
            k = self.kernel(next(iter(self.state.tasks.values()), None) or self._world.handle(Task, "nobody"))
            self.run(unpin_pages(k, holder.pins))
            for page in holder.pages:
                self.run(put_page(k, page))
            self.state.holders = tuple(other for other in self.state.holders if other is not holder)
