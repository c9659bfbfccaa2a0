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
from mmsim.conformance.kernels.image import Image, image
from mmsim.conformance.sequential import model
from mmsim.conformance.sequential.program import Batch, Call, Given, Limits, generate, with_ending
from mmsim.conformance.sequential.run import RunningKernel, conform_programs
from mmsim.errors import UserError
from mmsim.report import programs as report
from mmsim.strategies.wait_for_pins import wait_for_pins
from tests.conformance.machine import descendants

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
