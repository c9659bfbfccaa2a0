"""The commands as functions: names, files and values of a session; the same answers as the command line."""

from __future__ import annotations

import linecache
import sys
from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest
from click.testing import CliRunner

from mmsim import api, session
from mmsim.cli import main
from mmsim.errors import UserError
from mmsim.kernel.strategy import linux
from mmsim.report.text import verdict
from mmsim.scenario import Scenario
from mmsim.strategies import BY_NAME
from mmsim.verdict import HOLDS, VIOLATED

RACE = "dio_completes_after_seal"

REFUSING = """
import attrs
from mmsim.kernel.memfd import memfd_tag_pins
from mmsim.kernel.strategy import linux
from mmsim.strategies.looking import pages_in
from mmsim.syscalls import EBUSY

async def refuse(k, mapping):
    return -EBUSY if await memfd_tag_pins(k, mapping, await pages_in(k, mapping)) else 0

mine = attrs.evolve(linux, name="mine", exclude_pins=refuse)
"""

RACING = """
from mmsim.scenario import Scenario
from mmsim.syscalls import F_SEAL_WRITE, MAP_SHARED, MFD_ALLOW_SEALING, PROT_READ, PROT_WRITE, Device, fill
from mmsim.verdict import HOLDS, VIOLATED

SLOW = Device("slow")

async def setup(sys):
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)

async def reader(sys, shared):
    await sys.submit_direct_read(SLOW, shared[1], fill(b"late"))
    await sys.munmap(shared[1])

async def sealer(sys, shared):
    return await sys.add_seals(shared[0], F_SEAL_WRITE)

def granted(sealer):
    return sealer == 0

race = Scenario(
    setup=setup, threads=(reader, sealer), devices=(SLOW,), sometimes=(granted,),
    expect={"mine": HOLDS, "sealing_v2": VIOLATED},
)
"""


class Cells:
    """A session into which cells are typed: no file has their text, as in a notebook."""

    def __init__(self):
        self.names = {"__name__": "__main__"}

    def type(self, text, file="<cell>"):
        exec(compile(text, file, "exec"), self.names)
        return self.names


@pytest.fixture
def cells():
    typed = Cells()
    typed.type(REFUSING)
    typed.type(RACING)
    return typed


def without_time(text):
    return [line for line in text.rstrip().splitlines() if not line.startswith("Time ")]


def test_by_name_it_is_the_commands_answer():
    found = api.check(RACE, "sealing_v2")
    said = CliRunner().invoke(main, ["check", RACE, "--strategy", "sealing_v2"])
    assert without_time(str(found)) == without_time(said.output)
    assert repr(found) == f"<{RACE} under sealing_v2 on v3.17: Violated>"
    assert "Hash " in str(found)


def test_a_design_of_the_session(cells):
    found = api.check(RACE, cells.names["mine"])
    assert found.word == "Holds"
    assert found.test.strategy is cells.names["mine"]
    assert "Hash " not in str(found)  # its text is in no file, so there is nothing to tell it by


def test_nothing_is_kept_of_a_function_that_is_typed_again(cells):
    assert api.check(RACE, cells.names["mine"]).word == "Holds"
    cells.type(
        "async def refuse(k, mapping):\n    return 0\nmine = attrs.evolve(linux, name='mine', exclude_pins=refuse)"
    )
    assert api.check(RACE, cells.names["mine"]).word == "Violated"
    table = api.compare(RACE, strategies=[cells.names["mine"]])
    assert [one["verdict"] for one in table.results] == ["Violated"]
    assert not table.results[0]["reused"]


def test_a_scenario_of_the_session_and_what_it_expects_of_a_design_beside_it(cells):
    race, mine = cells.names["race"], cells.names["mine"]
    table = api.compare(race)
    assert [(one["test"]["scenario"], one["test"]["strategy"], one["verdict"]) for one in table.results] == [
        ("race", "sealing_v2", "Violated"),
        ("race", "mine", "Holds"),
    ]
    assert all(one["as_expected"] for one in table.results)
    cells.type("race = attrs.evolve(race, expect={'mine': VIOLATED})")
    found = api.check(cells.names["race"], mine)
    assert (found.judgement.expected, found.fits, found.status) == (VIOLATED, False, 1)


def test_the_call_that_shows_a_counterexample_again_does(cells):
    found = api.check(cells.names["race"], "sealing_v2")
    assert found.replay.startswith("replay(race, 'sealing_v2', ")
    again = eval(found.replay, {**cells.names, "replay": api.replay})
    assert len(again.execution.steps) == len(found.execution.steps)
    assert again.execution.violation == (found.verdict.violation.property, found.verdict.violation.detail)
    assert str(again).startswith(str(found).partition("\n\n")[0])


def test_a_shell_is_told_a_command_where_it_can_repeat_it():
    assert api.check(RACE, BY_NAME["sealing_v2"]).replay.startswith(f"mmsim replay {RACE} --strategy sealing_v2 ")


def test_past_releases_are_compared_too():
    table = api.compare("dirty_cow", strategies=["wait_for_pins"])
    assert [one["test"]["release"] for one in table.results][:2] == ["v4.8", "v4.9"]
    assert [one["verdict"] for one in table.results][:2] == ["Violated", "Holds"]
    alone = api.compare("dirty_cow", strategies=["wait_for_pins"], release="v4.9")
    assert [one["test"]["release"] for one in alone.results] == ["v4.9"]


def test_a_file_and_a_value_of_one_name_are_two_designs(cells, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(REFUSING)
    assert api.check(RACE, f"{file}:mine").word == "Holds"
    assert len(api.compare(RACE, "dio_write_out", strategies=[f"{file}:mine"]).results) == 2
    with pytest.raises(UserError, match="two designs are named 'mine'"):
        api.compare(RACE, strategies=[f"{file}:mine", cells.names["mine"]])
    with pytest.raises(UserError, match="two designs are named 'mine'"):
        api.measure("gup_one_file", f"{file}:mine", cells.names["mine"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: api.check(RACE, "sealing_v3"), "did you mean 'sealing_v2'"),
        (lambda: api.check("dio_completes_after_sael"), f"did you mean '{RACE}'"),
        (lambda: api.check(RACE, attrs.evolve(linux, exclude_pins=linux.put_page)), "has a strategy 'linux' already"),
        (
            lambda: api.check(RACE, attrs.evolve(BY_NAME["sealing_v2"], name="wait_for_pins")),
            "has a strategy 'wait_for_pins' already",
        ),
        (lambda: api.check(RACE, cast(Any, 7)), "a strategy is a name or .* and no int"),
        (lambda: api.check(cast(Any, 7)), "a scenario is a name, .* and no int"),
        (lambda: api.check(RACE, release="v3.71"), "v3.71"),
        (api.compare, "at least one scenario"),
        (lambda: api.compare(RACE, strategies=["sealing_v3"]), "sealing_v3"),
        (lambda: api.measure("gup_one_fil"), "gup_one_file"),
        (lambda: api.measure("gup_one_file", cpus=0), "no number of CPUs"),
        (lambda: api.simulate(RACE, delays={"slow": "nvmee"}), "nvme"),
        (lambda: api.simulate(RACE, delays={"quick": "7us"}), "quick"),
        (lambda: api.replay(RACE, "sealing_v2", "nobody3"), "nobody"),
        (lambda: api.conform("dirty_cow"), "model only"),
        (lambda: api.check(RACE, "wait_for_pins").picture(), "no counterexample to draw"),
    ],
)
def test_mistakes(wrong, said):
    with pytest.raises(UserError, match=said):
        wrong()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("race = attrs.evolve(race, expect={'mien': HOLDS})", "did you mean 'mine'"),
        ("race = attrs.evolve(race, threads=(sealer,), sometimes=(lambda sealer: True,))", "lambda"),
        ("race = attrs.evolve(race, threads=(granted,), sometimes=())", "<cell>, line 20: the thread 'granted'"),
    ],
)
def test_a_scenario_of_the_session_is_checked_as_one_in_a_file_is(cells, typed, said):
    cells.type(typed)
    with pytest.raises(UserError, match=said):
        api.check(cells.names["race"], "wait_for_pins")
    with pytest.raises(UserError, match=said):
        api.compare(cells.names["race"], strategies=["wait_for_pins"])


def test_linux_itself_may_be_asked():
    assert api.check(RACE, linux).word == "Violated"


def test_a_scenario_without_a_name_is_called_scenario():
    async def setup(sys):
        return None

    async def thread(sys, shared):
        return 1

    assert api.check(Scenario(setup=setup, threads=(thread,)), "wait_for_pins").test.name == "scenario"


def test_the_kernel_is_not_asked_what_no_file_says(cells):
    with pytest.raises(UserError, match="from its own file"):
        api.conform(cells.names["race"])


def test_one_run_on_a_clock_is_the_commands():
    run = api.simulate(RACE, "sealing_v2", delays={"slow": "20us"}, stagger_ns=5000)
    said = CliRunner().invoke(
        main, ["simulate", RACE, "--strategy", "sealing_v2", "--delay", "slow=20000", "--stagger", "5000"]
    )
    assert str(run) == said.output.rstrip()


def test_a_design_of_the_session_costs_what_the_same_in_the_catalogue_does():
    named = BY_NAME["delayed_unmap"]
    found = api.measure(
        "gup_one_file", attrs.evolve(named, name="mine"), named, baseline="wait_for_pins", cpus=(1, 2), repeats=1,
        seconds=0.000005,
    )  # fmt: skip
    points = {(one.strategy, one.cpus): one.figures() for one in found.measurements}
    assert len(points) == 6
    assert points["mine", 2] == points["delayed_unmap", 2] != points["wait_for_pins", 2]
    assert found.baseline == "wait_for_pins"
    assert found.csv().count("\n") == 6


def test_progress_is_told():
    told = []
    api.measure("gup_one_file", cpus=1, repeats=2, seconds=0.000005, progress=lambda *done: told.append(done))
    assert told == [(1, 2), (2, 2)]


@pytest.fixture
def ipython(monkeypatch):
    """IPython as far as it is asked: it knows its cells by the files that it compiles them as."""
    known = {"/somewhere/ipython_1/2718.py": ("Cell", "In[3]")}
    shell = SimpleNamespace(compile=SimpleNamespace(format_code_name=known.get))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    for file in known:
        monkeypatch.setitem(linecache.cache, file, (0, None, [], file))
    return next(iter(known))


def test_a_cell_is_called_as_ipython_calls_it(ipython):
    cells = Cells()
    cells.type(REFUSING.replace("await pages_in(k, mapping)", "0"), ipython)
    cells.type(RACING)
    cells.type("from mmsim.cells import Cell\nasync def look(k, inode):\n    return await linux.deny_writable(k, inode)\n"
               "mine = attrs.evolve(mine, deny_writable=look)", ipython)  # fmt: skip
    found = api.check(cells.names["race"], cells.names["mine"])
    files = {frame.file for step in found.execution.steps for frame in step.frames}
    assert "In[3]" in files
    assert "2718.py" not in files
    cells.type("race = attrs.evolve(race, threads=(granted,), sometimes=())")
    cells.type(
        "def other(sealer):\n    return True\nrace = attrs.evolve(race, threads=(other,), sometimes=())", ipython
    )
    with pytest.raises(UserError, match=r"^In\[3\], line 1: the thread 'other'"):
        api.check(cells.names["race"], "wait_for_pins")


def test_a_mistake_in_a_notebook_is_one_sentence():
    assert UserError("what, where, what to do")._render_traceback_() == ["mmsim: what, where, what to do"]


def test_where_there_is_no_ipython_cells_have_no_names(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert session._cells() == {}


def test_a_verdict_prints_as_text():
    found = api.check("nothing_races", "wait_for_pins")
    assert str(found) == verdict(found)
    assert found.judgement.expected is HOLDS
    assert found.outcomes == tuple(sorted(found.outcomes))
    assert all(outcome in str(found) for outcome in found.outcomes)


def test_an_explanation_says_what_the_command_says(tmp_path):
    said = CliRunner().invoke(main, ["explain", "wait_for_pins", "dio_then_exit", "--store", str(tmp_path)])
    assert without_time(str(api.explain("dio_then_exit"))) == without_time(said.output)
    unsaid = str(api.explain(RACE, attrs.evolve(linux, name="unsaid")))
    assert "argues" not in unsaid  # what `linux` says of itself is no argument for what was made from it
