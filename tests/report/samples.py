"""Executions written by hand, in the shape in which the replay driver records them."""

from __future__ import annotations

from typing import Any

from mmsim.steps import Context
from mmsim.syscalls import F_SEAL_WRITE, Device
from mmsim.trace import Execution, Frame, TracedStep

SLOW = Device("slow")
CALLS: dict[str, tuple[tuple[str, Any], ...]] = {
    "submit_direct_read": (("device", SLOW), ("address", 4096), ("data", b"late" * 1024)),
    "munmap": (("address", 4096), ("length", 4096)),
    "add_seals": (("fd", 3), ("seals", F_SEAL_WRITE)),
    "pread": (("fd", 3), ("length", 4096), ("offset", 0)),
    "wait_for": (("io", 1),),
}


def step(
    thread: str,
    call: str,
    at: str,
    word: str,
    cell: str,
    old: Any = 0,
    new: Any = 0,
    *,
    row: int = 1,
    context: Context = Context.TASK,
    alternative: int = 0,
    alternatives: int = 1,
) -> TracedStep:
    """A step of `thread` in `call` (a system call, or an interrupt's function) at `gup.py:31`."""
    file, _, line = at.partition(":")
    if call in CALLS:
        outer: tuple[Frame, ...] = (Frame(thread, "race.py", row), Frame(call, "syscalls.py", 10, CALLS[call]))
    else:
        outer = (Frame("device_interrupts", file, 1), Frame(call, file, 2))
    frames = (*outer, Frame("inner", file, int(line)))
    return TracedStep(thread, context, frames, word, cell, old, new, old, alternative, alternatives)


def hardirq(at: str, word: str, cell: str, old: Any, new: Any) -> TracedStep:
    """A step of the device `slow`."""
    return step("slow", "bio_endio", at, word, cell, old, new, context=Context.HARDIRQ)


SEALED = "sealed content never changes"

RACE = Execution(
    steps=(
        step("reader", "submit_direct_read", "gup.py:31", "load", "mm0.pte0", "Pte(page0)", "Pte(page0)"),
        step("reader", "submit_direct_read", "gup.py:33", "inc_not_zero", "page0._refcount", 2, 3),
        step("reader", "munmap", "mmap.py:40", "lock", "mm0.mmap_lock", 0, -1, row=2),
        step("reader", "munmap", "memory.py:22", "exchange", "mm0.pte0", "Pte(page0)", None, row=2),
        step("reader", "munmap", "mmap.py:51", "dec", "mapping0.i_mmap_writable", 1, 0, row=2),
        step("reader", "munmap", "mmap.py:40", "unlock", "mm0.mmap_lock", -1, 0, row=2),
        step("reader", "munmap", "swap.py:12", "dec_and_test", "page0._refcount", 3, 2, row=2),
        step("sealer", "add_seals", "memfd.py:70", "dec_unless_positive", "mapping0.i_mmap_writable", 0, -1),
        step("sealer", "add_seals", "memfd.py:88", "store", "inode0.seals", 0, F_SEAL_WRITE),
        step("sealer", "pread", "filemap.py:9", "load", "page0.data", b"orig", b"orig", row=2),
        hardirq("direct_io.py:60", "store", "page0.data", b"orig", b"late"),
        step("sealer", "pread", "filemap.py:9", "load", "page0.data", b"late", b"late", row=3),
    ),
    outcomes=(("reader", "still running"), ("sealer", 0)),
    violation=("sealed_content_never_changes", "sealer read twice"),
)

AT_THE_WRITE = Execution(RACE.steps[:9] + RACE.steps[10:11], RACE.outcomes, (SEALED, "page0 changed"))

DEADLOCK = Execution(
    steps=(
        step("reader", "munmap", "mmap.py:40", "lock", "mm0.mmap_lock", 0, -1),
        step("sealer", "add_seals", "memfd.py:60", "lock", "inode0.i_rwsem", 0, -1),
    ),
    outcomes=(),
    violation=("no deadlock", "reader waits for inode0.i_rwsem, sealer for mm0.mmap_lock"),
)
