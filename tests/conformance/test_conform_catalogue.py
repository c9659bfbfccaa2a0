"""`mmsim conform` without a scenario: what is run, what is not, and what is said of each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from unittest import mock

import attrs
import pytest
from click.testing import CliRunner

from mmsim import catalogue
from mmsim.check import Bounds, Test, check
from mmsim.cli import main
from mmsim.conformance import native, needs, resources, run
from mmsim.conformance.run import Session, conform
from mmsim.errors import UserError
from mmsim.kernel.entry import SimSyscalls
from mmsim.kernel.releases import release_named
from mmsim.report import conformance
from mmsim.scenario import LINUX_CARRIES
from mmsim.strategies import BY_NAME
from mmsim.syscalls import EACCES, Device
from mmsim.verdict import VIOLATED, Holds
from tests.conformance.machine import sample

pytestmark = pytest.mark.usefixtures("scratch")

RUNS = 8


def told(*words):
    ended = CliRunner().invoke(main, ["conform", *words])
    return ended.exit_code, ended.output


@pytest.fixture
def few(monkeypatch):
    def choose(*names):
        monkeypatch.setattr(catalogue, "names", lambda: names)

    return choose


def allowed_by_linux(name):
    scenario = catalogue.find(name).scenario
    test = Test(name, scenario, BY_NAME[LINUX_CARRIES], release_named("v6.18.44"), "", (name, LINUX_CARRIES))
    return scenario, check(test, bounds=Bounds(max_seconds=60))


def covering():
    """Scenarios that together make every call, and use every transport and kind of mount, that the runnable ones do."""
    uses = {}
    for name in catalogue.names():
        scenario = catalogue.find(name).scenario
        if not scenario.model_only and not needs.refusal(scenario):
            things = {device.transport for device in scenario.devices} | {mount.kind for mount in scenario.mounts}
            uses[name] = needs.verbs_of(scenario) | things
    left, chosen = set().union(*uses.values()), []
    while left:
        best = max(uses, key=lambda name: len(uses[name] & left))
        chosen.append(best)
        left -= uses[best]
    return chosen


@pytest.fixture(scope="module")
def results():
    """A few runs of each; `mmsim conform` has the time for all, and for more."""
    found = {}
    with Session() as session:
        for name in covering():
            scenario, verdict = allowed_by_linux(name)
            assert isinstance(verdict, Holds), f"{name} is not model_only and {verdict}"
            found[name] = conform(scenario, verdict.outcomes, RUNS, lanes=4, session=session)
    return found


@pytest.mark.kernel
@pytest.mark.usefixtures("slow_device")
@pytest.mark.parametrize("name", covering())
def test_a_part_of_the_catalogue_that_makes_every_call(name, results):
    result = results[name]
    if result.skipped:
        assert not result.agrees
        pytest.skip(result.skipped)
    assert result.runs == RUNS
    assert result.agrees, result


@pytest.mark.parametrize("name", catalogue.names())
def test_what_linux_ever_got_wrong_is_for_the_model_only(name):
    scenario = catalogue.find(name).scenario
    wrong = VIOLATED in (scenario.expected(LINUX_CARRIES, scenario.release, BY_NAME), *scenario.history.values())
    if wrong or scenario.history:
        assert scenario.model_only
        with pytest.raises(UserError, match="model only"):
            conform(scenario, None, 1)


@pytest.mark.kernel
@pytest.mark.usefixtures("slow_device")
def test_a_line_for_each_and_the_totals(few):
    few("nothing_races", "nfs_read_completes_after_seal", "dirty_cow")
    status, output = told("--runs", "30")
    first, second, last = output.splitlines()
    assert status == 0
    assert first.startswith("nothing_races")
    assert first.endswith("seen 1 of 1 possible outcome in 30 runs, none impossible")
    assert second == (
        "nfs_read_completes_after_seal  skipped: a device of transport 'nfs' needs a server that can be held back, "
        "which conform does not have"
    )
    assert "3 scenarios: 1 agreed, 1 skipped, 1 refused; seen " in last
    status, output = told("--all", "--runs", "30", "--verbose")
    assert "dirty_cow" in output
    assert "for the model only and is never run" in output


@pytest.mark.kernel
@pytest.mark.usefixtures("system_calls")
def test_something_impossible_is_told_and_is_the_exit_status(few, monkeypatch):
    few("process_vm_write_outlives_munmap")

    async def process_vm_writev(self, of, address, data):
        return -EACCES

    monkeypatch.setattr(SimSyscalls, "process_vm_writev", process_vm_writev)
    status, output = told("--runs", "30")
    assert status == 1
    assert "impossible: owner=0; writer=" in output
    assert "1 differed" in output
    status, output = told("--runs", "30", "--format", "json")
    assert status == 1
    assert json.loads(output)["results"][0]["impossible"]


def test_a_skip_is_no_agreement(few):
    few("nfs_read_completes_after_seal", "dirty_cow")
    status, output = told("--runs", "3")
    assert status == 3
    assert "agreed" not in output


def test_what_the_running_release_breaks_is_refused_though_nothing_says_so(tmp_path):
    text = catalogue.find("truncate_under_write_seal").path.read_text()
    assert "    model_only=True,\n" in text
    mine = tmp_path / "mine.py"
    mine.write_text(text.replace("    model_only=True,\n", ""))
    status, output = told(str(mine))
    assert status == 2
    assert "is not run on a real kernel: in the model v" in output
    assert "breaks `no_byte_below_the_size_changes` under wait_for_pins" in output
    mine.unlink()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nothing_races", "--all"), "--all runs the whole catalogue; leave 'nothing_races' or --all out"),
        (("--random", "3", "--all"), "--random makes programs of its own; leave '--all' out"),
        (("dirty_cow",), "this scenario is for the model only and is never run on a real kernel (model_only = True)"),
    ],
)
def test_bad_requests_are_one_sentence(words, sentence):
    assert told(*words) == (2, f"mmsim: {sentence}\n")


# What a machine may lack: each has its sentence.


def with_devices(*devices):
    return attrs.evolve(sample("race").scenario, devices=devices)


@pytest.mark.parametrize(
    ("scenario", "sentence"),
    [
        (with_devices(Device("x", "rdma")), "needs an RDMA adapter"),
        (with_devices(Device("x", "tape")), "a device of transport 'tape' is not there"),
        (catalogue.find("writeback_of_a_stored_page").scenario, "stable pages"),
        (catalogue.find("copy_fail").scenario, "af_alg.. is never performed"),
    ],
)
def test_what_is_performed_nowhere(scenario, sentence):
    assert re.search(sentence, needs.refusal(scenario) or "")


def lacking_io_uring(monkeypatch):
    monkeypatch.setattr(native, "SYS_IO_URING_SETUP", 9999)


def lacking_userfaultfd(monkeypatch):
    monkeypatch.setattr(native, "SYS_USERFAULTFD", 9999)


def lacking_process_vm_writev(monkeypatch):
    monkeypatch.setattr(native, "SYS_PROCESS_VM_WRITEV", 9999)


def lacking_page_idle(monkeypatch):
    monkeypatch.setattr(resources, "PAGE_IDLE", Path("/nowhere"))


def lacking_compaction(monkeypatch):
    monkeypatch.setattr(resources, "COMPACT", Path("/nowhere"))


def lacking_nodes(monkeypatch):
    monkeypatch.setattr(resources, "NODES", Path("/nowhere"))


def having_huge_pages(monkeypatch):
    there = mock.Mock(**{"exists.return_value": True, "read_text.return_value": "always [force]"})
    monkeypatch.setattr(needs, "SHMEM_ENABLED", there)


@pytest.mark.kernel
@pytest.mark.usefixtures("system_calls")
@pytest.mark.parametrize(
    ("name", "lack", "sentence"),
    [
        ("registered_private_buffer", lacking_io_uring, "registered buffers need io_uring, which is refused here"),
        ("uffd_copy_races_seal", lacking_userfaultfd, "userfaultfd is refused here"),
        ("process_vm_write_outlives_munmap", lacking_process_vm_writev, "process_vm_writev.. is refused here"),
        ("scanner_passes", lacking_page_idle, "a page scan needs /nowhere, which cannot be opened here"),
        ("migration_races_seal", lacking_compaction, "compaction needs /nowhere, which cannot be opened here"),
        ("migration_races_dio", lacking_nodes, "it takes two NUMA nodes with memory, and this machine has 1"),
        ("nothing_races", having_huge_pages, "memfds have huge pages on this machine"),
    ],
)
def test_what_a_machine_lacks(name, lack, sentence, monkeypatch):
    lack(monkeypatch)
    with pytest.raises(native.Impossible, match=sentence):
        needs.require(catalogue.find(name).scenario)


def test_nodes_are_counted(tmp_path, monkeypatch):
    listed = tmp_path / "has_memory"
    listed.write_text("0-2,5\n")
    monkeypatch.setattr(resources, "NODES", listed)
    assert resources.nodes_with_memory() == (0, 1, 2, 5)
    listed.unlink()


def test_interrupted_is_undecided():
    result = run.ConformanceResult("6.18", 5, seen=1, possible=2)
    agreed = conformance.Conformed("x", None, result, complete=True)
    assert conformance.overall([agreed], interrupted=True) == 3
    assert conformance.overall([agreed], interrupted=False) == 0
    assert conformance.overall([agreed, conformance.Conformed("y", failed="crash")], interrupted=False) == 1
