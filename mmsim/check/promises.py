"""What keeps a file's content as it is: a seal, a remount read-only, S_IMMUTABLE, a program that runs.

One idea for all of them: the content stays.  What a seal promises is stated exactly.  F_SEAL_WRITE forbids changing
content by writing, not by truncation: no step may change a byte that lies below the file's size before and after it,
as anybody sees it who reads the file or maps it.  F_SEAL_SHRINK and F_SEAL_GROW forbid the size itself to fall or
rise; so with F_SEAL_WRITE and F_SEAL_SHRINK no byte below the size ever changes.

A read-only mount, an immutable file and a program that runs promise more: there the size stays as well, and what the
disk of a read-only mount has of the file.
"""

from __future__ import annotations

import attrs

from mmsim.engine.tables import View
from mmsim.kernel.types import ExeFile, Inode, Mm
from mmsim.syscalls import F_SEAL_WRITE, FS_IMMUTABLE_FL

SEALED = "sealed content never changes"
REMOUNTED = "content of a read-only mount never changes"
IMMUTABLE = "immutable content never changes"
EXECUTED = "the text of a running program never changes"


@attrs.frozen
class Promise:
    """A property's name, and the words for what promised it."""

    property: str
    given: str


def promises(view: View, inode: Inode) -> list[Promise]:
    """What keeps this file's content as it is, in this state."""
    found: list[Promise] = []
    if evicted(view, inode):
        return found
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


def evicted(view: View, inode: Inode) -> bool:
    """Whether nobody can reach the file any more."""
    return inode.sb.evicts and not view[inode.i_count]


def programs(view: View, inode: Inode) -> list[ExeFile]:
    """The running programs whose text this file is."""
    running = (view[mm.exe_file] for mm in inode.world.of(Mm))
    return [exe for exe in running if exe is not None and exe.file.inode is inode]
