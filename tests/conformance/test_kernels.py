"""Programs in other kernels: the archive, the line and the executor by themselves, and images where there are some."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attrs
import pytest

from mmsim.conformance.kernels import build, cpio, wire
from mmsim.conformance.kernels import guest as guests
from mmsim.conformance.kernels.guest import Guest
from mmsim.conformance.kernels.image import LIBRARY, LOADER, Image, image
from mmsim.conformance.profile import nearest, number_of, profile
from mmsim.conformance.real import ARENA, FIRST
from mmsim.conformance.sequential import model
from mmsim.conformance.sequential.program import Batch, Call, Given, Limits, generate, with_ending
from mmsim.conformance.sequential.run import RunningKernel, conform_programs
from mmsim.errors import UserError
from mmsim.kernel.releases import release_named
from mmsim.report import programs as report
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import (
    F_SEAL_EXEC,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_GROW,
    F_SEAL_WRITE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    MADV_DONTNEED,
    MFD_ALLOW_SEALING,
    MFD_HUGETLB,
    PAGE_SIZE,
)
from tests.conformance.machine import descendants
from tests.conformance.test_programs import mmsim
from tests.kernels import wanted

# ---- the archive


def read_newc(data):
    """(path, mode, device, content) of each entry, read by the format's description and not by the writer."""
    at, found = 0, []
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name_at = at + 110
        name = data[name_at : name_at + fields[11] - 1].decode()
        content_at = -(-(name_at + fields[11]) // 4) * 4
        if name == "TRAILER!!!":
            return found
        content = data[content_at : content_at + fields[6]]
        found.append((name, fields[1], (fields[9], fields[10]), content))
        at = -(-(content_at + fields[6]) // 4) * 4


ENTRIES = (
    cpio.Entry("dev", directory=True),
    cpio.Entry("dev/console", permissions=0o600, device=(5, 1)),
    cpio.Entry("a", b"x"),
    cpio.Entry("init", b"\x7fELF" * 1000 + b"!"),
)


def test_an_archive_says_what_went_into_it():
    found = read_newc(cpio.archive(ENTRIES))
    assert [name for name, *_ in found] == ["dev", "dev/console", "a", "init"]
    assert [stat.filemode(mode) for _, mode, *_ in found] == ["drwxr-xr-x", "crw-------", "-rwxr-xr-x", "-rwxr-xr-x"]
    assert found[1][2] == (5, 1)
    assert found[3][3] == ENTRIES[3].content


@pytest.mark.skipif(not shutil.which("cpio"), reason="no cpio here")
def test_cpio_reads_the_archive():
    told = subprocess.run(["cpio", "-t", "--quiet"], input=cpio.archive(ENTRIES), capture_output=True, check=True)
    assert told.stdout.split() == [b"dev", b"dev/console", b"a", b"init"]


# ---- the line


def frame(*numbers):
    out = bytearray()
    for number in numbers:
        wire._put(out, number)
    return bytes(out)


PREAD = (Call(0, "pread", (3, 100, 0)),)


def test_answers_of_each_kind():
    calls = tuple(Call(0, "get_seals", (3,)) for _ in range(5))
    told = frame(0, 11 << 2 | 1, (9 * 2 - 1) << 2 | 2, 2 << 2 | 3, 5, 65, 300, 0)
    told += frame((0x1000000000 << 1) << 2 | 2, 1_500_000, 250_000)
    answers, seconds = wire.decoded(told, [calls])
    assert answers == [(None, "SIGSEGV", -9, b"A" * 5 + bytes(300), 0x1000000000)]
    assert seconds == (1.5, 0.25)


@pytest.mark.parametrize("told", [b"", frame(2), frame(2, 0), frame(2, 0, 0, 0), frame(2 << 2 | 3, 5)])
def test_answers_that_are_none(told):
    with pytest.raises(wire.Garbled):
        wire.decoded(told, [PREAD])


def test_every_verb_of_the_programs_is_on_the_line():
    programs = [with_ending(generate(1, number)) for number in range(300)]
    assert {call.verb for program in programs for call in program} == set(wire.VERBS)
    for program in programs:
        for call in program:
            assert len(wire._numbers(call)) == wire.ARGUMENTS[call.verb], call


# ---- the executor, as an ordinary process


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    try:
        return build.executor(tmp_path_factory.mktemp("executor"))
    except UserError as error:
        pytest.skip(str(error))


HERE = """
import os, sys
from mmsim.conformance import native
native.private_mounts()
native.mount("mmsim", sys.argv[2], "tmpfs", 0, "size=16m")
os.execv(sys.argv[1], sys.argv[1:])
"""


@attrs.frozen
class Here:
    """An image that is no kernel: the executor on the running one, in a mount namespace of its own."""

    path: Path
    user_mode = True

    def command(self, _initramfs, scratch, line):
        folder = scratch / "tmpfs"
        folder.mkdir(exist_ok=True)
        code = f"import os; os.dup2({line}, 0); os.dup2({line}, 1)\n{HERE}"
        return [sys.executable, "-c", code, str(self.path), str(folder)]

    def environment(self, _scratch):
        return {"PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture
def here(executor, system_calls, monkeypatch):
    """The executor behind the line; its hello says x86, as it is, while the line is a descriptor's."""
    monkeypatch.setattr(guests.build, "initramfs", lambda _folder: executor)
    return Here(executor)


def test_the_executor_compiles_without_a_warning(tmp_path):
    try:
        command = build.compiler()
    except UserError as error:
        pytest.skip(str(error))
    (tmp_path / "protocol.h").write_text(wire.header())
    flags = [*build.FLAGS, "-Wall", "-Wextra", "-fsyntax-only"]
    told = subprocess.run([command, *flags, f"-I{tmp_path}", build.SOURCE], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")


def test_the_executor_answers_as_the_worker_does(here):
    asked = Batch(11, range(300), 30, forks=True, limits=Limits(in_page=True))
    with RunningKernel() as worker, Guest(here) as guest:
        worker.ask(asked)
        guest.ask(asked)
        ours, _ = worker.answers()
        theirs, seconds = guest.answers()
    assert len(ours) == 300
    assert theirs == ours
    assert all(each > 0 for each in seconds)


def test_a_wrong_answer_is_found_and_shrunk(here, monkeypatch):
    """The executor says the truth and the model does not, as in a kernel that the model has wrong."""
    right = model.perform

    def wrong(program, **how):
        answers = right(program, **how)
        return tuple(0 if call.verb == "add_seals" else answer for call, answer in zip(program, answers, strict=True))

    monkeypatch.setattr(model, "perform", wrong)
    result = conform_programs(200, 3, wait_for_pins, kernel=Guest(here))
    assert report.status(result) == 1
    assert result.differences[0].program[-1].verb == "add_seals"
    assert len(result.differences[0].program) <= 3


def test_wrong_answers_of_a_kernel_are_found(here, monkeypatch):
    """And the other way round: every verb's answer is compared, whichever side has it wrong."""
    right = wire.decoded
    for verb in ("load", "pread", "ftruncate", "fork", "pass_fd"):

        def wrong(frame, programs, verb=verb):
            answers, seconds = right(frame, programs)
            return [
                tuple("wrong" if call.verb == verb else one for call, one in zip(program, answer, strict=True))
                for program, answer in zip(programs, answers, strict=True)
            ], seconds

        monkeypatch.setattr(wire, "decoded", wrong)
        result = conform_programs(100, 3, wait_for_pins, kernel=Guest(here))
        assert result.agreed < result.programs
        assert result.differences[0].program[-1].verb == verb


# ---- a guest that hangs or dies, and what is left


@attrs.frozen
class Script:
    """An image that is a shell script, which finds the line on its standard input and output."""

    text: str
    path: Path = Path("script")
    user_mode = True
    advice = Image.advice
    libc = Path("none")

    def command(self, _initramfs, _scratch, line):
        code = f"import os; os.dup2({line}, 0); os.dup2({line}, 1); os.execv('/bin/sh', ['sh', '-c', {self.text!r}])"
        return [sys.executable, "-c", code]

    def environment(self, _scratch):
        return {}


def says(magic, told):
    """A command that sends such a frame."""
    octal = "".join(f"\\{byte:03o}" for byte in magic + wire.LENGTH.pack(len(told)) + told)
    return f"printf '{octal}'"


HELLO = says(wire.HELLO, b"6.1.0\nDebian 6.1.192-2\n1\n0\n1\n1\n0\n")


@pytest.fixture
def no_build(monkeypatch):
    monkeypatch.setattr(guests.build, "initramfs", lambda folder: folder / "initramfs")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo 'Kernel panic - not syncing' >&2", "does not boot: it ended (Kernel panic - not syncing)"),
        (
            "echo \"version 'GLIBC_2.99' not found\" >&2",
            "; put ld-linux-x86-64.so.2 and libc.so.6 of a newer C library",
        ),
        ("sleep 100 & sleep 100", "does not boot: nothing was heard of it for 0.3 s"),
        (f"{HELLO}; sleep 100", "does not get through the programs: "),
        (f"{HELLO}; dd bs=1 count=4 >/dev/null 2>&1", "does not get through the programs: it ended"),
        (f"{HELLO}; {says(wire.ANSWERS, b'z')}; sleep 100", "a message ends too early"),
    ],
)
def test_a_guest_that_does_not_answer(no_build, monkeypatch, tmp_path, text, said):
    children = descendants()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # other tests run beside this one
    guest = Guest(Script(text), boots_s=0.3 if "nothing" in said else 5.0, answers_s=0.3)
    with pytest.raises(UserError) as error:
        ask_once(guest)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert guest.boots >= guests.TRIES
    assert descendants() == children
    assert not list(tmp_path.iterdir())


def ask_once(guest):
    with guest:
        guest.ask(Given((PREAD,)))
        guest.answers()


def test_a_guest_that_died_is_asked_again(no_build, tmp_path):
    """Its first life ends before it answers; the second answers what the first was asked."""
    answer = says(wire.ANSWERS, frame((5 * 2 - 1) << 2 | 2, 0, 0))
    text = f"{HELLO}; [ -e {tmp_path}/again ] || {{ touch {tmp_path}/again; exit; }}; {answer}; sleep 100"
    with Guest(Script(text), answers_s=2.0) as guest:
        guest.ask(Given((PREAD,)))
        assert guest.answers()[0] == [(-5,)]
        assert guest.boots == 2


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_session_ends_the_guest(no_build, tmp_path, how):
    """The guest and a process that it started; and the scratch directory goes too."""
    code = f"""
import sys
sys.path[:] = {sys.path!r}
from mmsim.conformance.kernels import guest
from tests.conformance.test_kernels import Script, HELLO
guest.build.initramfs = lambda folder: folder / "initramfs"
with guest.Guest(Script("echo $$ > {tmp_path}/pid; sleep 60 & " + {HELLO!r} + "; exec sleep 60")) as here:
    print("ready", flush=True)
    here._frame(b"never", 300)
"""
    session = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        assert session.stdout.readline() == b"ready\n"
        group = int((tmp_path / "pid").read_text())
        assert len(members(group)) == 2
        assert list(tmp_path.glob("mmsim-*"))
    finally:
        session.send_signal(how)
        session.wait(10)
        session.stdout.close()
    until = time.monotonic() + 10
    while (members(group) or list(tmp_path.glob("mmsim-*"))) and time.monotonic() < until:
        time.sleep(0.02)
    assert not members(group)
    assert not list(tmp_path.glob("mmsim-*"))


def members(group):
    """The processes of a process group that have not ended."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its = entry.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its) == group and state not in "ZX":
            found.append(entry.parent.name)
    return found


# ---- a C library of its own

BEGINS_ANEW = """
#include <stdio.h>
#include <unistd.h>
const char banner[] = "User Mode Linux";
int main(int argc, char **argv)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	int letter;

	if (argc == 1)
		return execl("/proc/self/exe", argv[0], banner, NULL);
	while ((letter = fgetc(maps)) != EOF)
		putchar(letter);
	return 0;
}
"""
"""What begins anew as user-mode Linux does, and then tells what it is made of."""


def libraries():
    """This machine's loader and C library, which this process has."""
    paths = {Path(line.split()[-1]) for line in Path("/proc/self/maps").read_text().splitlines()}
    return [path for path in paths if path.name in {LOADER, LIBRARY}]


@pytest.fixture
def begins_anew(tmp_path):
    if len(libraries()) < 2:
        pytest.skip("this machine has another C library")
    try:
        command = build.compiler()
    except UserError as error:
        pytest.skip(str(error))
    built = tmp_path / "linux.uml"
    subprocess.run([command, "-xc", "-", "-o", built], input=BEGINS_ANEW.encode(), check=True)
    (tmp_path / "scratch").mkdir()
    return built


def started(path, scratch):
    """The objects of what an image's command starts."""
    uml = image(str(path))
    command = uml.command(scratch / "initramfs", scratch, 3)[:1]
    environment = {**os.environ, **uml.environment(scratch)}
    maps = subprocess.run(command, env=environment, cwd=scratch, capture_output=True, check=True, text=True).stdout
    return {line.split()[-1] for line in maps.splitlines() if "/" in line}


def test_an_image_with_a_c_library_of_its_own(begins_anew, tmp_path):
    scratch = tmp_path / "scratch"
    assert str(begins_anew) in started(begins_anew, scratch)
    folder = tmp_path / "linux.uml.libc"
    folder.mkdir()
    with pytest.raises(UserError, match=r"linux\.uml\.libc has no ld-linux"):
        started(begins_anew, scratch)
    for path in libraries():
        shutil.copy(path, folder)
    for _ in range(2):  # a guest may have to be booted again
        assert started(begins_anew, scratch) == {str(scratch / "linux"), *map(str, folder.iterdir())}
    assert image(str(begins_anew)).advice("version 'GLIBC_2.99' not found") != ""


# ---- profiles: which release of the model a kernel is


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ({"release": "6.1.0-56-cloud-amd64", "built": "#1 SMP Debian 6.1.192-2 (2026-11-16)"}, "v6.1.192"),
        ({"release": "6.12.117+deb13-cloud-amd64", "built": "#1 SMP Debian 6.12.117-1"}, "v6.12.117"),
        ({"release": "6.18.15+deb13-cloud-amd64", "built": "#1 SMP Debian 6.18.15-1~bpo13+1 (2026)"}, "v6.18.15"),
        ({"release": "6.12.101", "user_mode": True, "huge": False}, "v6.12.101-um"),
        ({"release": "6.12.4", "huge": False}, "v6.12.4-nothp"),
        ({"release": "7.3.4+deb13", "force": False}, "v7.3.4-noforce"),
        ({"release": "6.17-rc3"}, "v6.17"),
    ],
)
def test_the_profile_of_a_kernel(told, name):
    found = profile(**told)
    assert found.name == name
    assert release_named(name) == found  # which the scenario of a difference names


@pytest.mark.parametrize(
    ("release", "said"), [("7.4.1", "of no series"), ("6.44.0", "of no series"), ("2.6.32", "older than all")]
)
def test_a_kernel_of_no_known_series(release, said):
    with pytest.raises(UserError, match=said):
        profile(release)


def test_the_running_kernel_may_be_younger_than_the_model():
    assert nearest("7.9.1").name == "v7.3"
    assert nearest("6.18.44-fc-v782", "#1 SMP PREEMPT_DYNAMIC @0").name == "v6.18.44"
    assert number_of("6.18.44", "Debian 6.1.192-2") == (6, 18, 44)  # of another series, so it is not the kernel's


SEALABLE = Call(0, "memfd_create", ("file", MFD_ALLOW_SEALING))
FD = FIRST


def mapped(prot, at=0):
    return Call(0, "mmap", (FD, prot, 0x11, PAGE_SIZE, at * PAGE_SIZE, ARENA + at * PAGE_SIZE))


def sealed(seals):
    return Call(0, "add_seals", (FD, seals))


SIZED = Call(0, "ftruncate", (FD, 2 * PAGE_SIZE))
READ_ONLY_OF_SEALED = (SEALABLE, SIZED, sealed(F_SEAL_WRITE), mapped(1))
ACROSS_THE_SIZE = (SEALABLE, SIZED, sealed(F_SEAL_GROW), Call(0, "pwrite", (FD, 65, 3 * PAGE_SIZE, 0)))
EXEC_WHILE_MAPPED = (SEALABLE, SIZED, mapped(3), sealed(F_SEAL_EXEC))
REFUSED_OVER_ANOTHER = (SEALABLE, SIZED, mapped(3), sealed(F_SEAL_FUTURE_WRITE), mapped(3), Call(0, "load", (ARENA, 1)))
MADE_LONGER = (SEALABLE, SIZED, mapped(3), sealed(F_SEAL_FUTURE_WRITE), mapped(3, 1))
TAKEN_OUT_AND_PUT_BACK = (
    SEALABLE,
    Call(0, "mmap", (FD, 3, 0x11, 2 * PAGE_SIZE, 0, ARENA)),
    sealed(F_SEAL_EXEC),
    mapped(3),
)
MOVE_OF_TWO = (
    SEALABLE,
    SIZED,
    mapped(1),
    mapped(3, 1),
    Call(0, "mremap", (ARENA, 2 * PAGE_SIZE, 2 * PAGE_SIZE, 3, ARENA + 8 * PAGE_SIZE)),
)
OVERLAP_OF_NOTHING = (Call(0, "mremap", (ARENA, PAGE_SIZE, PAGE_SIZE, 3, ARENA)),)
HUGE = Call(0, "memfd_create", ("file", MFD_ALLOW_SEALING | MFD_HUGETLB))
GROWN_BY_A_MAPPING = (HUGE, sealed(F_SEAL_GROW), mapped(3), Call(0, "pread", (FD, PAGE_SIZE, 0)))
NOT_BY_ONE_TO_READ = (HUGE, mapped(1), Call(0, "load", (ARENA, 1)))
PUNCH = Call(0, "fallocate", (FD, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 1, PAGE_SIZE))
HOLE_WITHIN_A_PAGE = (HUGE, SIZED, mapped(3), Call(0, "store", (ARENA, 65, 2)), PUNCH, Call(0, "pread", (FD, 2, 0)))
SEALED_HOLE_WITHIN_A_PAGE = (HUGE, SIZED, sealed(F_SEAL_WRITE), PUNCH)
SEALED_HOLE = (*SEALED_HOLE_WITHIN_A_PAGE[:-1], attrs.evolve(PUNCH, arguments=(*PUNCH.arguments[:-1], 2 * PAGE_SIZE)))
PAGE_NOT_FILLED = (HUGE, Call(0, "fallocate", (FD, 0, 0, 1)), mapped(1), Call(0, "load", (ARENA, 1)))
PRIVATE = Call(0, "mmap", (FD, 3, 0x12, PAGE_SIZE, 0, ARENA))
ALL = Call(0, "fallocate", (FD, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 2 * PAGE_SIZE))
HOLE_IN_A_COPY = (HUGE, SIZED, PRIVATE, Call(0, "store", (ARENA, 65, 1)), ALL, Call(0, "load", (ARENA, 1)))
STORED_BESIDE = (
    Call(0, "mmap", (FD, 3, 0x11, PAGE_SIZE, 0, ARENA + PAGE_SIZE)),
    Call(0, "store", (ARENA + PAGE_SIZE, 65, 1)),
)
LOAD_IN_A_HOLE = (HUGE, SIZED, PRIVATE, Call(0, "load", (ARENA, 1)), *STORED_BESIDE, Call(0, "load", (ARENA, 1)))
DONTNEED = (HUGE, SIZED, mapped(3), Call(0, "madvise", (ARENA, PAGE_SIZE, MADV_DONTNEED)))
MOVE = Call(0, "mremap", (ARENA, PAGE_SIZE, PAGE_SIZE, 3, ARENA + 8 * PAGE_SIZE))
MOVE_OF_HUGE, GROWTH_OF_HUGE = (
    (HUGE, SIZED, mapped(3), attrs.evolve(MOVE, arguments=(ARENA, PAGE_SIZE, size, 3, ARENA + 8 * PAGE_SIZE)))
    for size in (PAGE_SIZE, 2 * PAGE_SIZE)
)
WRITE_ONLY = (SEALABLE, SIZED, mapped(2), Call(0, "load", (ARENA, 1)))
EPERM, EBUSY, EFAULT, EINVAL = -1, -16, -14, -22

DIFFERING = [
    (READ_ONLY_OF_SEALED, {"v5.10.218": EPERM, "v5.10.262": ARENA, "v6.1.148": EPERM, "v6.1.192": ARENA}),
    (READ_ONLY_OF_SEALED, {"v6.12.8": EPERM, "v6.12.9": ARENA, "v6.12.117": ARENA, "v7.3.4": ARENA}),
    (ACROSS_THE_SIZE, {"v6.1.192": 2 * PAGE_SIZE, "v6.12.117": EPERM, "v6.12.117-nothp": 2 * PAGE_SIZE}),
    (ACROSS_THE_SIZE, {"v6.18.15": 2 * PAGE_SIZE, "v7.2.12": EPERM, "v7.2.7-um": 2 * PAGE_SIZE}),
    (EXEC_WHILE_MAPPED, {"v6.1.192": EINVAL, "v6.12.90": 0, "v6.12.117": EBUSY, "v6.18.15": 0, "v6.18.44": EBUSY}),
    (REFUSED_OVER_ANOTHER, {"v6.12.90": "SIGSEGV", "v6.12.118": b"\0"}),
    (MADE_LONGER, {"v5.10.262": ARENA + PAGE_SIZE, "v6.12.90": ARENA + PAGE_SIZE, "v6.12.93": EPERM, "v7.3.4": EPERM}),
    (TAKEN_OUT_AND_PUT_BACK, {"v6.12.90": ARENA, "v6.18.15": EPERM}),
    (MOVE_OF_TWO, {"v6.12.117": EFAULT, "v6.16.12": EFAULT, "v6.17.13": ARENA + 8 * PAGE_SIZE}),
    (OVERLAP_OF_NOTHING, {"v5.10.262": EINVAL, "v6.1.192": EFAULT, "v6.16.12": EFAULT, "v6.17.13": EINVAL}),
    (GROWN_BY_A_MAPPING, dict.fromkeys(("v5.10.262", "v6.1.192", "v7.3.4"), bytes(PAGE_SIZE))),
    (NOT_BY_ONE_TO_READ, dict.fromkeys(("v5.10.262", "v6.1.192", "v7.3.4"), "SIGBUS")),
    (HOLE_WITHIN_A_PAGE, {"v5.10.262": b"AA", "v6.1.192": b"A\0", "v7.3.4": b"A\0"}),
    (SEALED_HOLE_WITHIN_A_PAGE, {"v5.10.262": 0, "v6.1.192": EPERM, "v7.3.4": EPERM}),
    (SEALED_HOLE, {"v5.10.262": EPERM, "v6.1.192": EPERM}),
    (PAGE_NOT_FILLED, {"v5.10.262": "SIGBUS", "v6.1.192": b"\0", "v7.3.4": b"\0"}),
    (HOLE_IN_A_COPY, dict.fromkeys(("v5.10.262", "v6.12.118", "v7.3.4"), b"\0")),
    (LOAD_IN_A_HOLE, dict.fromkeys(("v5.10.262", "v6.12.118", "v7.3.4"), b"\0")),
    (DONTNEED, {"v5.10.262": EINVAL, "v6.1.192": 0, "v7.3.4": 0}),
    (MOVE_OF_HUGE, {"v5.10.262": EINVAL, "v6.1.192": ARENA + 8 * PAGE_SIZE, "v7.3.4": ARENA + 8 * PAGE_SIZE}),
    (GROWTH_OF_HUGE, dict.fromkeys(("v5.10.262", "v6.1.192", "v7.3.4"), EINVAL)),
    (WRITE_ONLY, {"v6.1.176": b"\0", "v6.1.176-um": "SIGSEGV"}),
]


@pytest.mark.parametrize(("program", "answers"), DIFFERING)
def test_stable_releases_and_builds_differ(program, answers):
    """As these kernels have it, by their own answers or (v6.1.148, v6.12.8, v6.12.9) by their changelogs."""
    told = {name: model.perform(program, wait_for_pins, release_named(name))[-1] for name in answers}
    assert told == answers


def test_a_file_is_of_the_kind_that_its_own_program_says():
    """Though the model's machine is not made anew for each program."""
    release = release_named("v6.12.118")
    programs = [(memfd, Call(0, "write", (FD, 65, 1))) for memfd in (SEALABLE, HUGE, SEALABLE, HUGE)]
    told = [model.perform(program, wait_for_pins, release)[-1] for program in programs]
    assert told == [1, EINVAL, 1, EINVAL]


# ---- bad input


@pytest.fixture
def elf(tmp_path):
    file = tmp_path / "elf"
    file.write_bytes(b"\x7fELF" + bytes(100))
    return file


def test_what_is_no_image(tmp_path, elf):
    text = tmp_path / "text"
    text.write_text("no kernel")
    for path, said in (
        (tmp_path / "none", "cannot be read (No such file or directory)"),
        (tmp_path, "cannot be read (Is a directory)"),
        (text, "is no kernel that boots here"),
        (elf, "is an ELF file but no user-mode Linux"),
    ):
        with pytest.raises(UserError) as error:
            image(str(path))
        assert said in str(error.value)
        assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--random", "5", "--kernel", "none"), "none cannot be read"), (("--kernel", "none"), "add --random N")],
)
def test_bad_input(arguments, said):
    told = mmsim(*arguments)
    assert (told.returncode, told.stdout) == (2, "")
    assert said in told.stderr
    assert len(told.stderr.splitlines()) == 1


def test_without_qemu_or_a_compiler(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(UserError, match="install it"):
        Image(tmp_path / "vmlinuz", user_mode=False).command(tmp_path, tmp_path, 3)
    with pytest.raises(UserError, match="install gcc"):
        build.executor(tmp_path)


def test_without_a_static_library(monkeypatch, tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho '/usr/bin/ld: cannot find -lc' >&2; exit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setattr(build, "compiler", lambda: str(compiler))
    with pytest.raises(UserError, match=r"is a static C library there.*cannot find -lc"):
        build.executor(tmp_path)


# ---- which of apt's packages are asked


def test_the_newest_kernel_of_a_series_and_of_some_the_oldest():
    names = [f"linux-image-6.12.{number}-cloud-amd64" for number in ("90+deb13", "90+deb13.1", "118+deb13", "94+deb13")]
    names += ["linux-image-6.19.9+deb13-cloud-amd64", "linux-binary-6.19.14+deb13-cloud-amd64", "linux-image-amd64"]
    names += ["linux-image-6.19.14+deb13-cloud-amd64", "linux-image-6.19.20+deb13-amd64"]
    assert wanted(names) == [names[0], names[2], names[5]]


# ---- images, where there are some


def images():
    folder = os.environ.get("KERNELS")
    return sorted(path for path in Path(folder).iterdir() if path.is_file()) if folder else []


@pytest.mark.kernel
@pytest.mark.parametrize("path", images() or [None], ids=lambda path: path.name if path else "none")
def test_a_kernel_and_its_release_agree(path):
    if path is None:
        pytest.skip("KERNELS names no folder of kernel images")
    children = descendants()
    result = conform_programs(200, 9, wait_for_pins, kernel=Guest(image(str(path))))
    assert result.differences == ()
    assert (result.programs, result.agreed) == (200, 200)
    assert descendants() == children
