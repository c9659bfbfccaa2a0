"""A child keeps its parent's page in a pipe, and the parent writes on into that very page: CVE-2020-29374.

fork() shares the private page read-only.  The child vmsplices it and unmaps it, so that one PTE is left, the parent's;
until v5.7 that was reason enough to write the page where it is, and the child could read its parent's secrets.  v5.8
broke the sharing in get_user_pages(), v5.9 asks for the last reference instead; the model has the latter for both.

    parent    forks the child, stores into its private page
    child     vmsplices its copy of the page into a pipe, unmaps it, reads the pipe
"""

from __future__ import annotations

import signal

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import MAP_PRIVATE, MFD_ALLOW_SEALING, PAGE_SIZE, PROT_READ, PROT_WRITE, Syscalls, fill
from mmsim.verdict import HOLDS, VIOLATED


@attrs.frozen
class Shared:
    window: int
    read: int
    write: int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"file"))
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE)
    await sys.store(window, fill(b"orig"))
    return Shared(window, *await sys.pipe())


async def parent(sys: Syscalls, shared: Shared) -> signal.Signals | None:
    await sys.fork(child)
    return await sys.store(shared.window, fill(b"mine"))


async def child(sys: Syscalls, shared: Shared) -> bytes | int:
    await sys.vmsplice(shared.write, shared.window, PAGE_SIZE)
    await sys.munmap(shared.window)
    return await sys.read(shared.read, PAGE_SIZE)


def the_child_sees_what_it_spliced(child: bytes | int) -> bool:
    return child == fill(b"orig")


def the_parent_can_store(parent: signal.Signals | None) -> bool:
    return parent is None


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(parent,),
    always=(the_child_sees_what_it_spliced,),
    sometimes=(the_parent_can_store,),
    children=(child,),
    release="v5.7",
    history={"v5.7": VIOLATED, "v5.8": HOLDS, "v5.9": HOLDS},
    model_only=True,
)
