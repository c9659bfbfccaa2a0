"""The plugin in a user's own repository, which has no configuration at all."""

from __future__ import annotations

import importlib.metadata
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from mmsim import catalogue

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parent.parent
INSTALLED = any(
    point.value == "mmsim.pytest_plugin" for point in importlib.metadata.entry_points(group="pytest11", name="mmsim")
)


def of_three(name):
    """A scenario of the catalogue that expects something of three designs only."""
    text = (catalogue.folder() / f"{name}.py").read_text()
    expect = 'expect={"sealing_v2": HOLDS, "wait_for_pins": HOLDS, "delayed_unmap": HOLDS}'
    return re.sub(r"expect=\{.*?\}", expect, text, flags=re.DOTALL)


@pytest.fixture
def repository(pytester, monkeypatch):
    """A folder with the race of the mail in it, and what runs pytest there."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # whether mmsim is installed or not
    (pytester.path / "races").mkdir()
    pytester.mine = pytester.path / "races" / "mine.py"
    pytester.mine.write_text(of_three("dio_write_out"))
    plugin = () if INSTALLED else ("-p", "mmsim.pytest_plugin")
    pytester.judge = lambda *arguments: pytester.runpytest_subprocess(*plugin, *arguments)
    return pytester


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_each_expectation_is_a_test_with_a_readable_name(repository):
    result = repository.judge("races", "-v", "-p", "no:randomly")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines([f"races/mine.py::{name} PASSED*" for name in ("sealing_v2", "wait_for_pins")])
    repository.judge("races/mine.py::wait_for_pins").assert_outcomes(passed=1)


def test_a_wrong_expectation_fails_with_the_verdict_and_no_traceback(repository):
    repository.mine.write_text(of_three("dio_completes_after_seal"))
    result = repository.judge("races")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "Violated, expected: Holds",
            "*reader (CPU0)*sealer (CPU1)",
            "sealed content never changes: *",
            'mmsim replay races/mine.py --strategy sealing_v2 --release v3.17 --schedule "*"',
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")
    result.stdout.fnmatch_lines(["FAILED races/mine.py::sealing_v2 - *Violated, expected: Holds"])


def test_a_mistake_in_a_file_is_an_error_of_one_sentence(repository):
    replace(repository.mine, '"sealing_v2": HOLDS', '"sealing_v3": HOLDS')
    result = repository.judge("races")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*`expect` has a verdict for 'sealing_v3'*did you mean 'sealing_v2'?"])
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize(
    ("old", "new"), [("scenario = Scenario", "scenaro = Scenario"), ("threads=(user,)", "threads=(")]
)
def test_a_slip_does_not_hide_a_scenario(repository, old, new):
    replace(repository.mine, old, new)
    repository.judge("races").assert_outcomes(errors=1)


def test_what_takes_too_long_fails_undecided(repository):
    repository.mine.write_text((catalogue.folder() / "undecided_seal_races_mmap.py").read_text())
    result = repository.judge("races/mine.py::wait_for_pins", "--mmsim-max-seconds=0.000001")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["Undecided after 1e-06 seconds; --mmsim-max-seconds says how long a test may take"])


def test_under_xdist_and_as_xml(repository):
    result = repository.judge("races", "-n", "2", "--junitxml=out.xml")
    result.assert_outcomes(passed=3)
    cases = ET.parse(repository.path / "out.xml").iter("testcase")
    assert {(case.get("classname"), case.get("name")) for case in cases} == {
        ("races.mine", name) for name in ("sealing_v2", "wait_for_pins", "delayed_unmap")
    }


def test_a_design_of_the_users_own(repository):
    design = "import attrs\nfrom mmsim.strategies import BY_NAME\neager = attrs.evolve(BY_NAME['sealing_v2'], name='eager')\n"
    (repository.path / "races" / "own.py").write_text(design)
    replace(repository.mine, '"sealing_v2": HOLDS', '"own.py:eager": HOLDS')
    result = repository.judge("races", "-v")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["races/mine.py::races/own.py:eager PASSED*"])
    result = repository.judge("races", "-v", "--mmsim-strategy=races/own.py:eager")
    result.assert_outcomes(passed=1)


def test_a_history_is_judged_release_by_release(repository):
    replace(repository.mine, "    setup=setup,", '    history={"v4.8": VIOLATED, "v4.9": HOLDS},\n    setup=setup,')
    replace(repository.mine, "import HOLDS", "import HOLDS, VIOLATED")
    result = repository.judge("races", "-v")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["FAILED races/mine.py::wait_for_pins[[]v4.8[]]*Holds, expected: Violated"])


def test_other_files_are_left_alone(repository):
    repository.mine.write_text("raise RuntimeError  # not even imported\n")
    repository.makepyfile(test_other="scenario = 3\ndef test(): pass\n")
    repository.judge().assert_outcomes(passed=1)
