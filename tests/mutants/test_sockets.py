"""Mistakes in sockets and descriptors, each a step or a lock left out or two steps swapped, that must be found."""

from __future__ import annotations

import pytest

from mmsim.check import Test, check
from mmsim.check.books import LEAK
from mmsim.kernel.releases import V3_17
from mmsim.scenario import Scenario
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import EBADMSG, EPIPE, F_SEAL_WRITE, MFD_ALLOW_SEALING, fill
from mmsim.verdict import Violated
from tests.mutants.judged import Mutant, each, left_out, swapped

BUG = "no kernel bug"
FD, READ, WRITE, SOCKET, FLAG = 3, 4, 5, 6, 7


def scene(setup, *threads, always=()):
    return Scenario(setup=setup, threads=threads, always=always)


async def bystander(sys, _):
    """With a second thread in the process, a descriptor that is used has to be held."""
    await sys.close(FD)


# ---- descriptors


async def pipe(sys):
    fd = await sys.memfd_create("file", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.pipe()


async def last_reader(sys, _):
    await sys.tee(READ, FD, 1)
    await sys.close(READ)
    return await sys.write(WRITE, b"x")


def a_pipe_that_nobody_reads_is_broken(last_reader):
    return last_reader == -EPIPE


async def closer(sys, _):
    await sys.close(WRITE)


async def sees_the_end_and_opens(sys, _):
    return await sys.read(READ, 1), await sys.memfd_create("next")


def a_descriptor_that_was_closed_is_free(sees_the_end_and_opens):
    return sees_the_end_and_opens == (b"", WRITE)


# ---- sockets


async def two_bytes(sys):
    one, _other = await sys.socketpair()
    await sys.write(one, b"xy")


async def reader(sys, _):
    return await sys.read(4, 1)


async def other_reader(sys, _):
    return await sys.read(4, 1)


async def one_ciphertext(sys):
    await pipe(sys)
    await sys.af_alg()
    await sys.write(SOCKET, fill(b"code"))


async def one_page_to_decrypt(sys):
    await pipe(sys)
    await sys.af_alg()
    await sys.splice(FD, 0, WRITE, 16)
    await sys.splice(READ, None, SOCKET, 16)


async def decrypts_and_passes_on(sys, _):
    await sys.read(SOCKET, 16)
    await sys.write(SOCKET, fill(b"next"))


async def likewise(sys, _):
    await sys.read(SOCKET, 16)
    await sys.write(SOCKET, fill(b"next"))


async def decrypts_and_seals(sys, _):
    return await sys.read(SOCKET, 16), await sys.add_seals(FD, F_SEAL_WRITE)


def what_was_decrypted_is_given_back(decrypts_and_seals):
    return decrypts_and_seals == (-EBADMSG, 0)


async def other_ciphertext_first(sys):
    await pipe(sys)
    await sys.af_alg()
    await sys.write(SOCKET, fill(b"code"))
    await sys.memfd_create("flag")


async def sender(sys, _):
    await sys.splice(FD, 0, WRITE, 16)
    await sys.splice(READ, None, SOCKET, 16)
    await sys.pwrite(FLAG, b"sent")


async def decrypts_and_looks(sys, _):
    await sys.read(SOCKET, 16)
    sent = await sys.pread(FLAG, 4) == b"sent"
    return sent and await sys.add_seals(FD, F_SEAL_WRITE) == 0, await sys.pread(FD, 4)


def nothing_is_given_back_that_was_not_decrypted(decrypts_and_looks):
    given_back, seen = decrypts_and_looks
    return not given_back or seen == b"esn!"


MUTANTS = [
    Mutant(
        "a call on two descriptors keeps the first",
        scene(pipe, last_reader, bystander, always=(a_pipe_that_nobody_reads_is_broken,)),
        "a_pipe_that_nobody_reads_is_broken",
        patches=(left_out("kernel.entry.descriptors.Descriptors._on_both", "await self._fdput(file)"),),
    ),
    Mutant(
        "close() gives the number back when all is over",
        scene(pipe, closer, sees_the_end_and_opens, always=(a_descriptor_that_was_closed_is_free,)),
        "a_descriptor_that_was_closed_is_free",
        patches=(
            swapped(
                "kernel.entry.descriptors.Descriptors.close",
                "await self.k.process.open_fds.fetch_update(without_fd, fd)",
                "await fput(self.k, file)",
            ),
        ),
    ),
    Mutant(
        "two read a socket at once",
        scene(two_bytes, reader, other_reader),
        LEAK,
        patches=(left_out("kernel.af_unix.unix_stream_read", "async with file.iolock:"),),
    ),
    Mutant(
        "two decrypt the same at once",
        scene(one_ciphertext, decrypts_and_passes_on, likewise),
        BUG,
        patches=(left_out("kernel.algif_aead.decrypt", "async with file.sk_lock:"),),
    ),
    Mutant(
        "a page is sent while others are decrypted",
        scene(
            other_ciphertext_first,
            sender,
            decrypts_and_looks,
            always=(nothing_is_given_back_that_was_not_decrypted,),
        ),
        "nothing_is_given_back_that_was_not_decrypted",
        patches=(left_out("kernel.algif_aead.aead_sendpage", "async with file.sk_lock:"),),
        release="v4.14",
    ),
    Mutant(
        "what was decrypted stays where it was",
        scene(one_page_to_decrypt, decrypts_and_seals, always=(what_was_decrypted_is_given_back,)),
        "what_was_decrypted_is_given_back",
        patches=(left_out("kernel.algif_aead.decrypt", "await pull_tsgl(k, file)"),),
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)


async def silent_peers(sys):
    await pipe(sys)
    await sys.af_alg()
    await sys.socketpair()


@pytest.mark.parametrize("fd", [SOCKET, SOCKET + 1], ids=["aead", "unix"])
def test_who_is_sent_nothing_sleeps_and_does_not_look_for_ever(fd):
    async def waiter(sys, _):
        await sys.read(fd, 1)

    found = check(Test("t", scene(silent_peers, waiter), wait_for_pins, V3_17))
    assert isinstance(found, Violated)
    assert found.violation.property == "no deadlock"
