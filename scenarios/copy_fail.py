"""A page of a sealed memfd is spliced into a decryption, which writes to what it reads: CVE-2026-31431, Copy Fail.

AF_ALG's AEAD worked in place: the pages it was sent were chained to the list of those it writes, and authencesn parks
four bytes there.  Each step is legal by itself, and the reference was taken to read: a design that counts writers, or
that looks for references before the seal, cannot help, for all of it happens afterwards.

    user    splices the sealed memfd into a pipe and on into the decryption, lets it run, reads the file
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import EBADMSG, F_SEAL_WRITE, MFD_ALLOW_SEALING, PAGE_SIZE, Syscalls, fill
from mmsim.verdict import HOLDS, OTHERS, VIOLATED


@attrs.frozen
class Shared:
    fd: int
    read: int
    write: int
    operation: int


@attrs.frozen
class Seen:
    decrypted: bytes | int
    content: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.add_seals(fd, F_SEAL_WRITE)
    return Shared(fd, *await sys.pipe(), await sys.af_alg())


async def user(sys: Syscalls, shared: Shared) -> Seen:
    await sys.splice(shared.fd, 0, shared.write, 32)
    await sys.splice(shared.read, None, shared.operation, 32)
    decrypted = await sys.read(shared.operation, 32)
    return Seen(decrypted, await sys.pread(shared.fd, PAGE_SIZE))


def the_file_keeps_its_content(user: Seen) -> bool:
    return user.content == fill(b"orig")


def the_tag_is_wrong(user: Seen) -> bool:
    return user.decrypted == -EBADMSG


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(user,),
    always=(the_file_keeps_its_content,),
    sometimes=(the_tag_is_wrong,),
    release="v6.12",
    history={
        "v4.9": HOLDS,
        "v4.14": VIOLATED,
        "v6.12.87": HOLDS,
        "v6.13": VIOLATED,
        "v6.18.44": HOLDS,
        "v6.19": VIOLATED,
        "v7.0": HOLDS,
    },
    model_only=True,
    expect={OTHERS: VIOLATED},  # nobody pinned it to write
)
