"""A page of the memfd lies in a socket that its peer does not read: the peer can hold off the seal and change nothing.

As `splice_reader_refuses_the_seal`, but the page is a fragment of a socket buffer, and the one who holds it is another
process, which need not even know of the memfd.

    receiver    (own process) reads the socket
    sealer      adds F_SEAL_WRITE
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario, process
from mmsim.syscalls import EBUSY, F_SEAL_WRITE, MFD_ALLOW_SEALING, PAGE_SIZE, Syscalls, fill
from mmsim.verdict import HOLDS, OTHERS


@attrs.frozen
class Shared:
    fd: int
    receives: int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    sends, receives = await sys.socketpair()
    await sys.sendfile(sends, fd, 0, PAGE_SIZE)
    return Shared(fd, receives)


async def receiver(sys: Syscalls, shared: Shared) -> bytes | int:
    return await sys.read(shared.receives, PAGE_SIZE)


async def sealer(sys: Syscalls, shared: Shared) -> int:
    return await sys.add_seals(shared.fd, F_SEAL_WRITE)


def the_socket_has_the_content(receiver: bytes | int) -> bool:
    return receiver == fill(b"orig")


def seal_granted(sealer: int) -> bool:
    return sealer == 0


def seal_refused_for_a_reader(sealer: int) -> bool:
    return sealer == -EBUSY


scenario = Scenario(
    question="references",
    sibling="dio_from_another_process",
    setup=setup,
    threads=(process(receiver), sealer),
    always=(the_socket_has_the_content,),
    sometimes=(seal_granted,),
    needless=(seal_refused_for_a_reader,),
    release="v4.8",  # before v4.2 the socket was sent a copy
    expect={OTHERS: HOLDS},
)
