"""A page of a sealed memfd is spliced into a packet, and traffic control edits more than it copied: CVE-2026-46331.

A rule of act_pedit changes some bytes of each packet, and since v5.18 it copies as much as its keys were reckoned to
reach before it writes; but where a key's header begins is known only when the packet is there.  As
`esp_decrypts_in_place`, but the writer does ask for a copy, and of too little.  Up to v5.17 it copied nothing at all.

    user    splices the sealed memfd into a pipe and on into a UDP socket, reads what arrives, then the file
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import F_SEAL_WRITE, IPPROTO_UDP, MFD_ALLOW_SEALING, PAGE_SIZE, Consumer, Syscalls, fill
from mmsim.verdict import HOLDS, OTHERS, VIOLATED


@attrs.frozen
class Shared:
    fd: int
    read: int
    write: int
    near: int
    far: int


@attrs.frozen
class Seen:
    packet: bytes | int
    content: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.add_seals(fd, F_SEAL_WRITE)
    return Shared(fd, *await sys.pipe(), *await sys.inet_socketpair(IPPROTO_UDP, Consumer.PEDIT))


async def user(sys: Syscalls, shared: Shared) -> Seen:
    await sys.splice(shared.fd, 0, shared.write, 8)
    await sys.splice(shared.read, None, shared.near, 8)
    packet = await sys.read(shared.far, 8)
    return Seen(packet, await sys.pread(shared.fd, PAGE_SIZE))


def the_file_keeps_its_content(user: Seen) -> bool:
    return user.content == fill(b"orig")


def the_packet_is_edited(user: Seen) -> bool:
    return user.packet == b"origedit"


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(user,),
    always=(the_file_keeps_its_content,),
    sometimes=(the_packet_is_edited,),
    release="v6.12",
    history={
        "v5.17": VIOLATED,
        "v5.19": VIOLATED,
        "v6.12.93": VIOLATED,
        "v6.18.44": HOLDS,
        "v6.19": VIOLATED,
        "v7.2": HOLDS,
    },
    model_only=True,
    expect={OTHERS: VIOLATED},  # nobody pinned it to write
)
