"""What random programs are performed by: machine code, a machine that is booted again, several jobs."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from mmsim.conformance import machine_code
from mmsim.conformance.sequential import model
from mmsim.conformance.sequential.program import Batch, Call
from mmsim.conformance.sequential.run import Drawn, conform_programs
from mmsim.errors import UserError
from mmsim.kernel import memory, truncate
from mmsim.kernel.releases import release_named
from mmsim.kernel.types import Page
from mmsim.report import programs as report
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import SIGSEGV
from tests.conformance.machine import descendants, workers

NOW = release_named("v6.18.44")
DRAWN = Drawn(21)


@pytest.mark.skipif(not (shutil.which("as") and shutil.which("objcopy")), reason="no assembler")
def test_the_bytes_are_those_of_the_instructions_beside_them(tmp_path):
    lines = machine_code.LISTING.strip().splitlines()
    source = [line if line.endswith(":") else line.strip().partition("  ")[2] for line in lines]
    (tmp_path / "code.s").write_text("\n".join([".intel_syntax noprefix", *source, ""]))
    subprocess.run(["as", "--64", "-o", "code.o", "code.s"], cwd=tmp_path, check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", "code.o", "code"], cwd=tmp_path, check=True)
    code, _ = machine_code.assembled()
    assert code == (tmp_path / "code").read_bytes() + machine_code.ZEROS


def test_a_machine_that_is_booted_again_is_a_new_one():
    programs = Batch(DRAWN.seed, range(300), DRAWN.longest, DRAWN.forks).programs()
    again = [model.perform(program, wait_for_pins, NOW) for program in programs]
    anew = [tuple(map(model.ModelMachine(wait_for_pins, NOW).perform, program)) for program in programs]
    assert again == anew


def test_another_machine_takes_its_place(monkeypatch):
    monkeypatch.setattr(model, "BOOTS", 3)
    program = (Call(0, "memfd_create", ("file", 2)), Call(0, "get_seals", (3,)))
    machines = set()
    for _ in range(8):
        assert model.perform(program, wait_for_pins, NOW) == (3, 0)
        machines.add(model._machine(wait_for_pins, NOW))
    assert len(machines) > 1


def test_a_name_that_does_not_say_how_its_object_is_made():
    world = model._World()
    page = world.handle(functools.partial(Page, nr_pages=1), "page")
    assert world.handle(functools.partial(Page, nr_pages=1), "page") is page
    with pytest.raises(RuntimeError, match="made with"):
        world.handle(functools.partial(Page, nr_pages=2), "page")


def test_what_there_is_of_a_kind_is_known_as_it_comes():
    world = model._World()
    first = world.handle(Page, "first")
    assert world.of(Page) == [first]
    assert world.of(Page) == [first, world.handle(Page, "second")]


# ---- several jobs


def compared(jobs, programs=300, **how):
    return conform_programs(programs, DRAWN.seed, wait_for_pins, NOW, jobs=jobs, **how)


def test_jobs_share_the_programs(system_calls):
    before = descendants()
    one, two = compared(1), compared(2)
    assert (one.jobs, two.jobs) == (1, 2)
    assert (one.programs, one.calls, one.forking) == (two.programs, two.calls, two.forking)
    assert (two.agreed, two.programs) == (300, 300)
    assert "by 2 jobs" in report.text(two)
    assert descendants() <= before


@pytest.mark.parametrize("plant", ["every_fault_is_a_segv", "holes_are_not_zeroed"])
def test_jobs_find_the_same_differences(system_calls, monkeypatch, plant):
    page_fault = memory.page_fault

    async def segv(k, address, *, write):
        return await page_fault(k, address, write=write) and SIGSEGV

    async def nothing(*_):
        return None

    if plant == "every_fault_is_a_segv":
        monkeypatch.setattr(memory, "page_fault", segv)
    else:
        monkeypatch.setattr(truncate, "zero_user_segment", nothing)
    one, two = compared(1), compared(3)
    assert one.agreed == two.agreed < 300
    assert one.differences == two.differences


def test_a_helper_that_dies_is_a_sentence(system_calls, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # it leaves its scratch directory there
    performed = model.perform
    here = os.getpid()

    def deadly(program, **how):
        if os.getpid() != here:
            os._exit(1)
        return performed(program, **how)

    monkeypatch.setattr(model, "perform", deadly)
    with pytest.raises(UserError, match="a process that compares programs has died"):
        compared(2)


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_nothing_runs_on_after_a_signal(system_calls, tmp_path, name):
    command = [sys.executable, "-m", "mmsim", "conform", "--random", "1000000", "--jobs", "2"]
    session = subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait_until(lambda: len(workers(tmp_path)) >= 4)  # two that perform, and the template of each
        session.send_signal(getattr(signal, name))
        told, said = session.communicate(timeout=60)
    finally:
        session.kill()
    if name != "SIGKILL":
        assert session.returncode == 3
        # It may have met the session before it had asked for anything.
        assert b"ended by Ctrl-C" in told or b"interrupted before there was anything to say" in said
        assert list(tmp_path.iterdir()) == []
    wait_until(lambda: not workers(tmp_path))


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
