"""Authenticated decryption for user space: AF_ALG, type aead, authencesn.

Follows crypto/algif_aead.c (aead_sendpage, _aead_recvmsg), crypto/af_alg.c (af_alg_pull_tsgl) and crypto/authencesn.c
(crypto_authenc_esn_decrypt), v4.14.  What is spliced into the operation's socket is referred to until recv(), which
does the work.  authencesn parks four bytes of the sequence number where the list of what it *writes* has the tag.
Out of place that is memory of its own; in place (CVE-2026-31431) the tag's pages of what was sent are chained to that
list, so a reference that was taken to read is written through.

Not modelled: the ciphers, so that no tag is ever right and recv() fails with EBADMSG, after it has done its damage;
the memory of the caller that plaintext would go to; algorithms that write nothing beside the plaintext; encryption.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mmsim.cells import Cell, Mutex, World
from mmsim.kernel.filemap import read_page
from mmsim.kernel.net import Frag, SocketFile, sock_write
from mmsim.kernel.page_alloc import get_page, put_page
from mmsim.kernel.releases import AEAD_IN_PLACE
from mmsim.kernel.shmem import write_page
from mmsim.kernel.types import FileOperations, Kernel, Page
from mmsim.syscalls import EBADMSG

SEQUENCE_NUMBER = b"esn!"


def sent(tsgl: tuple[Frag, ...], frag: Frag) -> tuple[Frag, ...]:
    """The list of what was sent, with one more entry."""
    return (*tsgl, frag)


def any_sent(tsgl: tuple[Frag, ...]) -> bool:
    """Whether there is something to work on."""
    return bool(tsgl)


async def aead_sendpage(_k: Kernel, file: AeadSocket, page: Page, offset: int, length: int, _flags: int) -> int:
    """Add part of a page to what is to be decrypted; the last part is the tag."""
    async with file.sk_lock:
        await get_page(page)
        await file.tsgl.update(sent, Frag(page, offset, length))
    return length


async def aead_recvmsg(k: Kernel, file: AeadSocket, _length: int) -> bytes | int:
    """Decrypt what was sent: -EBADMSG, for its tag is wrong."""
    while not await decrypt(k, file):
        await file.tsgl.wait_until(any_sent)
    return -EBADMSG


async def decrypt(k: Kernel, file: AeadSocket) -> bool:
    """crypto_aead_decrypt() on what was sent; whether there was anything."""
    async with file.sk_lock:
        frags = await file.tsgl.load()
        for frag in frags:
            await read_page(k, frag.page, frag.offset, frag.offset + frag.length)
        if frags and k.release.has(AEAD_IN_PLACE):
            await write_page(k, frags[-1].page, frags[-1].offset, SEQUENCE_NUMBER)
        await pull_tsgl(k, file)
    return bool(frags)


async def pull_tsgl(k: Kernel, file: AeadSocket) -> None:
    """af_alg_pull_tsgl(): give back all that was sent."""
    for frag in await file.tsgl.exchange(()):
        await put_page(k, frag.page)


class AeadSocket(SocketFile):
    """The socket of one operation, as accept() makes it: struct af_alg_ctx and its file."""

    f_op: FileOperations | None = FileOperations(
        read=aead_recvmsg, write=sock_write, release=pull_tsgl, sendpage=aead_sendpage
    )

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.sk_lock = world.lock(Mutex, f"{name}.sk_lock")
        self.tsgl: Cell[tuple[Frag, ...]] = self.cell("tsgl", ())

    def holds(self, view: Any) -> Iterable[Page]:
        """The pages that were sent and not worked on yet."""
        return [frag.page for frag in view[self.tsgl]]


async def af_alg_accept(k: Kernel) -> AeadSocket:
    """A new operation."""
    number = await k.number("operations_made")
    return k.world.handle(AeadSocket, f"{k.cpu}.aead[{number}]")
