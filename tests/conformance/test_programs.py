"""Random programs on the running kernel and in the model: that a wrong model is found, and what is shown of it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile

import attrs
import pytest

from mmsim import catalogue
from mmsim.conformance import run as scenarios
from mmsim.conformance.profile import nearest
from mmsim.conformance.real import ARENA, FIRST
from mmsim.conformance.sequential import model, run
from mmsim.conformance.sequential import program as draws
from mmsim.conformance.sequential.program import (
    ARENA_LENGTH,
    HUGE_SHARE,
    LONGEST,
    PROCESSES,
    Call,
    Limits,
    generate,
    has_processes,
)
from mmsim.conformance.sequential.run import conform_programs, kind_of
from mmsim.conformance.sequential.shrink import shrunk
from mmsim.errors import UserError
from mmsim.kernel import file_table, fork, memory, mmap, shmem, truncate
from mmsim.kernel.releases import release_named
from mmsim.kernel.types import File
from mmsim.report import programs as report
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import (
    EBADF,
    FALLOC_FL_KEEP_SIZE,
    MAP_FIXED,
    MFD_ALLOW_SEALING,
    MFD_HUGETLB,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    O_CREAT,
    O_RDWR,
    PAGE_SIZE,
    SIGSEGV,
)
from tests.conformance.machine import descendants

NOW = release_named("v6.18.44")
ONE_PROCESS = 250
WITH_FORKS = 900


@pytest.fixture
def linux(system_calls):
    """The running kernel can be asked."""


def verbs(program):
    return [call.verb for call in program]


def test_programs_are_the_same_for_a_seed():
    programs = [generate(7, number) for number in range(200)]
    assert programs == [generate(7, number) for number in range(200)]
    assert programs != [generate(8, number) for number in range(200)]
    assert max(map(len, programs)) <= LONGEST
    assert {call.process for program in programs for call in program} == set(range(PROCESSES))
    assert not any(has_processes(generate(7, number, forks=False)) for number in range(200))


def test_programs_leave_no_address_to_the_kernel():
    for program in [generate(3, number) for number in range(300)]:
        for call in program:
            if call.verb == "mmap":
                assert call.arguments[2] & MAP_FIXED
                assert 0 <= call.arguments[5] - ARENA < ARENA_LENGTH
            if call.verb == "mremap":
                assert call.arguments[3] in {0, MREMAP_MAYMOVE | MREMAP_FIXED}


def test_writes_within_pages():
    for program in [generate(3, number, limits=Limits(in_page=True)) for number in range(300)]:
        for call in program:
            if call.verb == "pwrite":
                assert call.arguments[3] % PAGE_SIZE + call.arguments[2] <= PAGE_SIZE


def test_programs_with_huge_pages():
    """Every tenth, with no other files; the others are what they are without."""
    limits = Limits(huge_pages=True)
    for number in range(300):
        program = generate(3, number, limits=limits)
        if number % HUGE_SHARE:
            assert program == generate(3, number)
            continue
        assert not any(call.verb == "open" for call in program)
        assert all(call.arguments[1] & MFD_HUGETLB for call in program if call.verb == "memfd_create")
        assert not any(call.arguments[1] == FALLOC_FL_KEEP_SIZE for call in program if call.verb == "fallocate")


def test_a_smaller_program_keeps_its_huge_pages():
    program = (Call(0, "memfd_create", ("file", MFD_ALLOW_SEALING | MFD_HUGETLB)), Call(0, "get_seals", (FIRST,)))
    small = shrunk(program, lambda candidate: any(call.verb == "memfd_create" for call in candidate))
    assert small == (Call(0, "memfd_create", ("file", MFD_HUGETLB)),)


def test_linux_and_the_model_agree(linux, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # other tests run beside this one
    children = descendants()
    result = conform_programs(600, 5, wait_for_pins)
    assert result.differences == ()
    assert (result.agreed, result.programs) == (600, 600)
    assert report.status(result) == 0
    assert report.text(result).splitlines()[-1].startswith("600 of 600 programs agreed")
    assert not list(tmp_path.iterdir())
    assert descendants() == children


# ---- wrong models: each is found, shrunk, and shown


def no_seal_forbids(monkeypatch):
    async def allowed(_inode, _end):
        return 0

    monkeypatch.setattr(shmem, "shmem_write_begin", allowed)


def every_fault_is_a_segv(monkeypatch):
    right = memory.page_fault

    async def wrong(k, address, *, write):
        return await right(k, address, write=write) and SIGSEGV

    monkeypatch.setattr(memory, "page_fault", wrong)


def holes_are_not_zeroed(monkeypatch):
    async def nothing(*_):
        return None

    monkeypatch.setattr(truncate, "zero_user_segment", nothing)


def descriptors_are_not_reused(monkeypatch):
    def next_fd(open_fds):
        number = 1 + max(open_fds, default=2)
        return (*open_fds, number), number

    monkeypatch.setattr(file_table, "with_fd", next_fd)


def a_protection_is_forgotten(monkeypatch):
    monkeypatch.setattr(mmap, "vm_access_flags", lambda prot: (1 if prot & 1 else 0) | 2)


def fork_shares_private_pages(monkeypatch):
    monkeypatch.setattr(fork, "wrprotected", lambda pte: pte)


def nobody_denies_writers(_monkeypatch):
    async def granted(_k, _inode):
        return 0

    return attrs.evolve(wait_for_pins, deny_writable=granted)


WRONG = [
    (no_seal_forbids, ONE_PROCESS, 3),
    (every_fault_is_a_segv, ONE_PROCESS, 3),
    (holes_are_not_zeroed, ONE_PROCESS, 5),
    (descriptors_are_not_reused, ONE_PROCESS, 4),
    (a_protection_is_forgotten, ONE_PROCESS, 4),
    (nobody_denies_writers, ONE_PROCESS, 3),
    (fork_shares_private_pages, WITH_FORKS, 7),
]


@pytest.mark.parametrize(("plant", "programs", "calls"), WRONG, ids=[plant.__name__ for plant, *_ in WRONG])
def test_a_wrong_model_is_found_and_shrunk(linux, monkeypatch, tmp_path, plant, programs, calls):
    wrong = plant(monkeypatch) or wait_for_pins
    forks = programs == WITH_FORKS
    result = conform_programs(programs, 5 if forks else 1, wrong, NOW, forks=forks)
    assert result.agreed < result.programs
    assert report.status(result) == 1
    first = result.differences[0]
    assert len(first.program) <= calls, report.scenario(result, first)
    assert kind_of(first.program, first.linux, first.model)
    # No call of it can be left out.
    for at in range(len(first.program)):
        smaller = first.program[:at] + first.program[at + 1 :]
        assert kind_of(smaller, *answers(smaller, wrong)) != kind_of(first.program, first.linux, first.model)
    # What is printed is a scenario, and Linux answers it as it answered the program.
    assert scenario_answers(result, first, tmp_path) == [
        answer for call, answer in zip(first.program, first.linux, strict=True) if call.process == 0
    ]


# ---- descriptors passed between processes


PASSING = (
    Call(0, "memfd_create", ("file", MFD_ALLOW_SEALING)),
    Call(0, "pass_fd", (3, 1)),
    Call(0, "fork"),
    Call(0, "dup", (3,)),
    Call(0, "pass_fd", (4, 1)),
    Call(1, "close", (3,)),
    Call(0, "pass_fd", (9, 1)),
    Call(0, "pass_fd", (3, 1)),
    Call(0, "close", (3,)),
    Call(0, "write", (4, 65, 2)),
    Call(1, "write", (3, 66, 2)),
    Call(1, "read", (4, 4)),
    Call(0, "pread", (4, 9, 0)),
    Call(1, "pass_fd", (4, 1)),
    Call(1, "exit"),
    Call(0, "pass_fd", (4, 1)),
    Call(0, "pread", (4, 9, 0)),
    Call(0, "pass_fd", (4, 0)),
)
SEEN = (3, None, 1, 4, 4, 0, -EBADF, 3, 0, 2, 2, b"", b"AABB", 5, 0, None, b"AABB", 3)


def test_what_is_passed_is_the_open_file(linux):
    """It outlives the sender's descriptor, takes the receiver's lowest number, and has one position for both."""
    assert answers(PASSING, wait_for_pins) == (SEEN, SEEN)


def the_number_is_the_senders(monkeypatch):
    right = model.scm_fp_copy
    sent = []

    async def noted(k, fd):
        sent.append(fd)
        return await right(k, fd)

    async def wrong(k, file):
        await k.process.fd(sent[-1]).store(file)
        return sent[-1]

    monkeypatch.setattr(model, "scm_fp_copy", noted)
    monkeypatch.setattr(model, "scm_detach_fds", wrong)


def the_receiver_has_a_position_of_its_own(monkeypatch):
    right = model.scm_detach_fds
    copies = iter(range(10**6))

    async def wrong(k, file):
        copy = await file_table.alloc_file(File(k.world, f"copy[{next(copies)}]", file.inode, file.flags))
        await copy.f_pos.store(await file.f_pos.load())
        return await right(k, copy)

    monkeypatch.setattr(model, "scm_detach_fds", wrong)


def a_closed_descriptor_can_be_sent(monkeypatch):
    right = model.scm_fp_copy

    async def wrong(k, fd):
        return max(await right(k, fd), 0, key=lambda file: file != -EBADF)

    monkeypatch.setattr(model, "scm_fp_copy", wrong)


@pytest.mark.parametrize(
    ("plant", "verbs_of_it"),
    [
        (the_number_is_the_senders, {"pass_fd"}),
        (the_receiver_has_a_position_of_its_own, {"read", "write", "pread"}),
        (a_closed_descriptor_can_be_sent, {"pass_fd"}),
    ],
)
def test_a_wrong_passing_is_found_and_shrunk(linux, monkeypatch, tmp_path, plant, verbs_of_it):
    # Every program forks, and as the worker draws for itself it is given them in so many words.
    monkeypatch.setattr(draws, "FORKING_SHARE", 1.0)
    monkeypatch.setattr(run, "Batch", lambda *drawn: run.Given(tuple(draws.Batch(*drawn).programs())))
    monkeypatch.setattr(run, "BATCH", 20)
    plant(monkeypatch)
    result = conform_programs(40, 2, wait_for_pins, NOW)
    first = result.differences[0]
    text = report.scenario(result, first)
    assert verbs(first.program)[-1] in verbs_of_it, text
    assert "pass_fd" in verbs(first.program), text
    assert len(first.program) <= 6, text
    # No call of a scenario passes descriptors, so the file says that it is left out, and is a scenario all the same.
    assert "left out here" in text
    file = tmp_path / "difference.py"
    file.write_text(text)
    assert scenarios.run_once(catalogue.find(str(file), []).scenario)


def test_nothing_is_passed_to_a_kernel_without_sockets():
    limits = Limits(no_sockets=True)
    programs = [generate(3, number, limits=limits) for number in range(500)]
    assert any(map(has_processes, programs))
    assert "pass_fd" not in {verb for program in programs for verb in verbs(program)}
    assert any("AF_UNIX" in sentence for sentence in limits.not_asked)


def test_a_printed_scenario_has_the_mount_of_its_files(tmp_path):
    program = (Call(0, "open", ("a", O_RDWR | O_CREAT)),)
    difference = run.Difference(0, program, (3,), (-2,))
    file = tmp_path / "difference.py"
    file.write_text(report.scenario(run.ProgramsResult("6.18", "v6.18", "wait_for_pins", 0), difference))
    assert catalogue.find(str(file), []).scenario.mounts


def answers(program, strategy):
    scratch = tempfile.TemporaryDirectory(prefix="mmsim-")
    with scratch, scenarios.Worker(scenarios.ProgramsRequest(scratch.name)) as worker:
        worker.next_message(60)
        worker.ask(run.Given((program,)))
        _, (real,), _ = worker.next_message(60)
    return real, model.perform(program, strategy, NOW)


def test_a_worker_that_nobody_listens_to_any_more_ends_by_itself(linux, tmp_path):
    worker = scenarios.Worker(scenarios.ProgramsRequest(str(tmp_path)))
    worker.next_message(60)
    worker.ask(run.Batch(5, range(3000), 24, forks=False))  # more answers than a pipe holds
    assert select.select([worker._process.stdout], [], [], 60)[0]
    worker.close()
    assert worker._process.returncode != -signal.SIGKILL


def scenario_answers(result, difference, tmp_path):
    """What the first process's thread returns on Linux, in the words of programs."""
    file = tmp_path / "difference.py"
    file.write_text(report.scenario(result, difference))
    told = dict(scenarios.run_once(catalogue.find(str(file), []).scenario))["main"]
    own = [call for call in difference.program if call.process == 0]
    return [plain(answer, call) for answer, call in zip(told, own, strict=True)]


def plain(answer, call):
    if call.verb == "fork":
        return 1
    if answer is None:
        return 0
    return answer.name if hasattr(answer, "name") else answer


def test_a_difference_that_does_not_repeat_is_said_to(linux, monkeypatch):
    performed = run.model.perform
    count = iter(range(10**6))

    def once_wrong(program, **how):
        right = performed(program, **how)
        return (*right[:-1], "wrong") if next(count) == 20 else right

    monkeypatch.setattr(run.model, "perform", once_wrong)
    result = conform_programs(50, 1, wait_for_pins, NOW, forks=False)
    assert result.agreed == 49
    assert [each.repeats for each in result.differences] == [False]
    assert "A second run of it did not differ" in report.text(result)


# ---- shrinking alone


def test_shrinking_finds_the_two_calls_that_matter():
    program = (Call(0, "memfd_create", ("file", MFD_ALLOW_SEALING)), *generate(2, 5), Call(0, "pwrite", (3, 65, 4, 0)))

    def differs(candidate):
        return "memfd_create" in verbs(candidate) and verbs(candidate)[-1:] == ["pwrite"]

    small = shrunk(program, differs)
    assert verbs(small) == ["memfd_create", "pwrite"]
    assert (small[0].arguments, small[1].arguments[2:]) == (("file", 0), (0, 0))


def test_shrinking_never_asks_for_what_programs_do_not_ask():
    seen = []
    shrunk(generate(2, 9), lambda candidate: seen.append(candidate) is not None)
    calls = [call for program in seen for call in program]
    assert all(call.arguments[2] & MAP_FIXED for call in calls if call.verb == "mmap")
    assert all(call.arguments[3] in {0, 3} for call in calls if call.verb == "mremap")
    assert all(call.arguments[0] >= 3 for call in calls if call.verb in {"pread", "pwrite", "mmap", "close"})


# ---- which release, and bad input


@pytest.mark.parametrize(
    ("running", "release"),
    [("6.18.44-fc-v782", "v6.18.44"), ("6.18.15", "v6.18.15"), ("7.9.1-rc3", "v7.3"), ("6.12.100", "v6.12.100")],
)
def test_the_nearest_release(running, release):
    assert nearest(running).name == release


@pytest.mark.parametrize("running", ["2.6.32", "unknown"])
def test_a_kernel_that_the_model_does_not_know(running):
    with pytest.raises(UserError, match="older than all that the model knows"):
        nearest(running)


def mmsim(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "mmsim", "conform", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("dio_races_munmap", "--random", "5"), "leave 'dio_races_munmap' out"),
        (("--random", "5", "--runs", "3"), "leave '--runs' out"),
        (("--random", "5", "--kernel", "linux", "--jobs", "2"), "leave --jobs out"),
        (("dio_races_munmap", "--jobs", "2"), "add --random N"),
        (("--random", "0"), "0 is not in the range"),
        (("--random", "many"), "'many' is not a valid integer"),
        (("--random", "5", "--release", "v6.44"), "unknown release"),
        (("--random", "5", "--strategy", "hope"), "hope"),
    ],
)
def test_bad_input(arguments, sentence):
    told = mmsim(*arguments)
    assert told.returncode == 2
    assert sentence in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert not told.stdout


def test_the_command_and_its_json(linux):
    told = mmsim("--random", "40", "--seed", "2", "--format", "json")
    assert told.returncode == 0, told.stderr
    answer = json.loads(told.stdout)
    (result,) = answer["results"]
    assert (answer["command"], result["programs"], result["agreed"]) == ("conform", 40, 40)
    assert result["differences"] == []


def test_json_of_a_difference(linux):
    told = mmsim("--random", "60", "--release", "v6.1", "--format", "json")
    assert told.returncode == 1
    (result,) = json.loads(told.stdout)["results"]
    last = [difference["calls"][-1] for difference in result["differences"]]
    assert not any(call["agree"] for call in last)
    assert any((call["call"].split("(")[0], call["model"]) == ("memfd_create", "-EINVAL") for call in last)
    assert "scenario = Scenario(" in result["differences"][0]["scenario"]
