"""Emitted programs: that they compile, that the running kernel answers what they expect, and that they would notice."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsim import catalogue
from mmsim.check import Test, parse_schedule
from mmsim.cli import main
from mmsim.conformance.profile import running
from mmsim.emit import calls, emit, order, pieces, program, values
from mmsim.emit.calls import Writer
from mmsim.errors import UserError
from mmsim.kernel import read_write
from mmsim.kernel.releases import release_named
from mmsim.strategies.sealing_v2 import sealing_v2
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import PAGE_SIZE
from mmsim.trace import SYSTEM_CALLS
from mmsim.verdict import Expected, Schedule

SAMPLES = Path(__file__).parent / "samples"
FLAGS = ("-Wall", "-Wextra", "-Werror", "-std=gnu11", "-pthread")
SKIPPED = 4
CHECK = re.compile(r"expect(?:_[a-z]+)?\(")


def loaded(name, strategy=wait_for_pins, release=None):
    found = catalogue.find(str(name))
    return Test(found.name, found.scenario, strategy, release or running())


def refused(name):
    """Why there is no program of a scenario; None if there is one."""
    try:
        emit.refuse(loaded(name))
    except UserError as error:
        return str(error)
    return None


SCENARIOS = {name: catalogue.find(name).scenario for name in catalogue.names()}
NAMES = [name for name, scenario in SCENARIOS.items() if not scenario.model_only]


@pytest.fixture(scope="session")
def cc():
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    if os.uname().sysname != "Linux":
        pytest.skip("emitted programs are for Linux")


def compiled(text, folder, *options):
    source = folder / "program.c"
    source.write_text(text)
    done = subprocess.run(
        ["cc", *FLAGS, *options, str(source), "-o", str(folder / "program")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "program"


def tap(binary):
    """(exit status, lines) of a run; the lines are well formed, or this fails."""
    done = subprocess.run([str(binary)], capture_output=True, text=True, timeout=60, check=False)
    version, plan, *lines = done.stdout.splitlines()
    assert version == "TAP version 13", done.stdout
    if plan.startswith("1..0 # SKIP "):
        assert done.returncode == SKIPPED
        pytest.skip(plan)
    told = [line for line in lines if not line.startswith("#")]
    numbers = [int(re.match(r"(?:not )?ok (\d+) - \S+: .* = .", line)[1]) for line in told]
    assert numbers == list(range(1, int(plan.removeprefix("1..")) + 1)), done.stdout
    return done.returncode, lines


def agrees(text, folder):
    status, lines = tap(compiled(text, folder))
    assert not [line for line in lines if line.startswith(("not ok", "Bail out"))], "\n".join(lines)
    assert status == 0
    assert len(lines) == text.count("\n\texpect") + text.count(" = expect_")


# ---- what is written


@pytest.mark.kernel
@pytest.mark.parametrize("name", NAMES)
def test_the_kernel_answers_as_the_model(cc, tmp_path, name):
    why = refused(name)
    if why is None:
        agrees(emit.emit(loaded(name)), tmp_path)
    else:
        beyond = {device.transport for device in SCENARIOS[name].devices} - {"block", "fuse"}
        assert beyond or loaded(name).expected is Expected.VIOLATED, why


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["many_verbs", "threads_of_processes"])
def test_samples(cc, tmp_path, name):
    agrees(emit.emit(loaded(SAMPLES / f"{name}.py")), tmp_path)


def test_what_is_for_the_model_only_is_refused():
    for name in set(SCENARIOS) - set(NAMES):
        assert "for the model only" in refused(name)
    bugs = [name for name in NAMES if SCENARIOS[name].history]
    assert all("bug of the past" in refused(name) for name in bugs)
    assert len(NAMES) > 80


def test_nothing_that_linux_gets_wrong_is_written(tmp_path):
    text = Path(catalogue.folder() / "truncate_under_write_seal.py").read_text().replace("    model_only=True,\n", "")
    (tmp_path / "expected.py").write_text(text)
    assert "violates this scenario" in refused(tmp_path / "expected.py")
    (tmp_path / "unsaid.py").write_text(re.sub(r"expect=\{.*?\},", "", text, flags=re.DOTALL))
    assert "violates this scenario" in refused(tmp_path / "unsaid.py")


def test_an_order_that_breaks_a_property_is_not_written():
    test = loaded("dio_completes_after_seal", sealing_v2, release_named("v3.17"))
    schedule = parse_schedule("reader44 sealer6 slow2")
    with pytest.raises(UserError, match="breaks a property under sealing_v2"):
        emit.refuse_order(test, order.ordered(test, schedule))


def test_only_what_is_used_is_there():
    text = emit.emit(loaded("two_sealers"))
    assert "fuse" not in text
    assert "io_uring" not in text
    assert "sigsetjmp" not in text
    assert text.startswith("// SPDX-License-Identifier: GPL-2.0\n")


def test_every_piece_is_of_use():
    used = {word for piece in pieces.pieces() for word in piece.uses}
    used |= pieces.words(" ".join(Path(module.__file__).read_text().replace('"', " ") for module in (calls, program)))
    assert not [piece.name for piece in pieces.pieces() if piece.name not in used | {"struct shared"}]


def test_every_call_is_written_but_a_few():
    special = {"exit"}  # the program's own business
    special |= {"af_alg", "inet_socketpair", "dev_zero", "tee_many"}  # only scenarios of bugs of the past make these
    special |= {"execve"}  # after which there is no program to go on
    assert not [verb for verb in SYSTEM_CALLS - special if not hasattr(Writer, f"_{verb}")]


@given(st.lists(st.sampled_from([b"late", b"\0", b"a\0", b'"\\?', bytes(range(256)), b"x" * 4095])).map(b"".join))
def test_content_is_written_as_it_is(data):
    written = re.findall(r'"((?:\\.|[^"\\])*)", ([^,]+)', values.pairs(data))
    texts = [(eval(f'b"{text}"'), eval(length, {"PAGE_SIZE": PAGE_SIZE})) for text, length in written]
    assert (
        b"".join((text or b"\0") * length if not text else (text * length)[:length] for text, length in texts) == data
    )


# ---- orders


def at_random(test, seed):
    """A schedule that switches between calls only."""
    draw, runner = random.Random(seed), order.Runner(test)
    while True:
        able = [a for a in runner.actors.values() if runner.able(a) and (a.name in runner.queues or not a.silent)]
        if not able:
            return runner.finished().schedule
        actor = draw.choice(able)
        if actor.silent:
            runner.answer(actor)
        else:
            runner.proceed(actor, awake=runner.in_a_call(actor))
        runner.wake()


@pytest.mark.parametrize("name", ["dio_completes_after_seal", "fork_shares_the_mapping", "splice_races_the_seal"])
def test_a_schedule_of_whole_calls_is_kept(name):
    test = loaded(name)
    for seed in range(10):
        schedule = at_random(test, seed)
        found = order.ordered(test, schedule)
        assert found.faithful
        assert found.schedule == schedule
        assert "nearest order" not in emit.emit(test, schedule)


@pytest.mark.kernel
def test_a_device_that_answers_while_a_seal_sleeps(cc, tmp_path):
    test = loaded("dio_completes_after_seal")
    texts = (emit.emit(test, at_random(test, seed)) for seed in range(100))
    text = next(text for text in texts if "others_go_on_until(" in text and "expect(0, fcntl" in text)
    agrees(text, tmp_path)


def test_a_schedule_inside_of_calls_has_the_same_answers_or_none():
    test = loaded("write_races_seal")
    outcomes = set()
    for seed in range(30):
        draw, exact = random.Random(seed), order.Runner(test)
        while able := [actor for actor in exact.actors.values() if exact.able(actor)]:
            exact.take(draw.choice(able))
        wanted = exact.finished()
        try:
            found = order.ordered(test, wanted.schedule)
        except UserError:
            outcomes.add("refused")
            continue
        assert found.asked() == wanted.asked()
        outcomes.add("nearest" if not found.faithful else "exact")
        assert ("nearest order" in emit.emit(test, wanted.schedule)) is not found.faithful
    assert "nearest" in outcomes


# ---- what would be noticed


def planted(text, wrong):
    right, instead = wrong
    assert right in text
    return text.replace(right, instead, 1)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("dio_completes_after_seal", ("expect(-EBUSY, fcntl", "expect(0, fcntl")),
        ("dio_completes_after_seal", ('expect_bytes(pread(fd, bytes, PAGE_SIZE, 0), "orig"', 'expect_bytes(pread(fd, bytes, PAGE_SIZE, 0), "oriG"')),
        ("dio_completes_after_seal", ("expect(PAGE_SIZE, device_answers", "expect(0, device_answers")),
        ("dio_completes_after_seal", ('"orig", PAGE_SIZE);', '"orig", PAGE_SIZE - 1);')),
        ("future_write_through_mprotect", ("expect(0, mprotect", "expect(-EACCES, mprotect")),
        ("dio_completes_after_seal", ("\tfd = expect_fd(memfd_create(", "\tfd = expect_fd(-1 + 0 * memfd_create(")),
        ("dio_completes_after_seal", ("MAP_SHARED,", "MAP_SHARED | 0xf00000f,")),
        ("map_fixed_over", ("expect(-EBUSY", "expect(-EPERM")),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_noticed(cc, tmp_path, name, wrong):
    status, lines = tap(compiled(planted(emit.emit(loaded(name)), wrong), tmp_path))
    assert status == 1
    assert any(line.startswith("not ok") for line in lines)


@pytest.mark.kernel
def test_a_wrong_model_is_noticed(cc, tmp_path, monkeypatch):
    right = read_write.vfs_write

    async def one_less(*arguments, **named):
        return await right(*arguments, **named) - 1

    monkeypatch.setattr("mmsim.kernel.entry.files.vfs_write", one_less)
    status, lines = tap(compiled(emit.emit(loaded("two_sealers")), tmp_path))
    assert status == 1
    assert any(line.startswith("not ok") and "pwrite" in line for line in lines)


@pytest.mark.kernel
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_of_a_killed_program(cc, tmp_path, how):
    """In the midst of a seal that waits, with an I/O in flight."""
    binary = compiled(emit.emit(loaded("dio_from_another_process")), tmp_path)
    mounts = Path("/proc/self/mountinfo").read_text()
    running = subprocess.Popen([str(binary)], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert running.stdout is not None
    for line in running.stdout:
        if "SKIP" in line:
            running.wait()
            pytest.skip(line)
        if "munmap" in line:
            break
    running.send_signal(how)
    assert running.wait(5) == -how
    running.stdout.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any_left(running.pid):
        time.sleep(0.02)
    assert not any_left(running.pid)
    assert Path("/proc/self/mountinfo").read_text() == mounts


def any_left(session):
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


# ---- the command


def run(*words):
    with pytest.raises(SystemExit) as end:
        main.main(args=["emit-c", *map(str, words)])
    return end.value.code


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["dio_completes_after_sael"], "did you mean 'dio_completes_after_seal'"),
        (["dirty_cow"], "for the model only"),
        (["nfs_read_completes_after_seal"], "has the transport 'nfs'"),
        (["nothing_races", "--release", "v1.0"], "unknown release 'v1.0'"),
        (["two_sealers", "--schedule", "sealer"], "is no part of a schedule"),
        (["two_sealers", "--schedule", "sealer2000"], "does not fit two_sealers at step"),
        (["two_sealers", "--schedule", "nobody1"], "nobody cannot move there"),
        (["two_sealers", "-o", "/nowhere/it.c"], "'/nowhere/it.c' cannot be written: No such file or directory"),
    ],
)
def test_mistakes_are_told_in_one_line(capsys, words, told):
    assert run(*words) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("mmsim: ")
    assert told in err
    assert err.count("\n") == 1


def test_the_same_text_on_standard_output_and_in_a_file(capsys, tmp_path):
    assert run("two_sealers", "-o", tmp_path / "it.c") == 0
    assert capsys.readouterr().out == ""
    assert run("two_sealers") == 0
    assert capsys.readouterr().out == (tmp_path / "it.c").read_text()


def test_the_command_in_the_program_makes_it_again(capsys):
    schedule = Schedule(order.default_order(loaded("nothing_races")).schedule.moves)
    text = emit.emit(loaded("nothing_races"), schedule)
    told = re.search(r"`mmsim emit-c ([^`]*)`", re.sub(r"\n \* ", " ", text))
    assert told is not None
    name, *options = told[1].split(" --")
    words = [word.strip('"') for option in options for word in f"--{option}".split(" ", 1)]
    assert run(name, *words) == 0
    assert capsys.readouterr().out == text
