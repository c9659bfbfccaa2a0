"""The command line: what is printed, and the exit status."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from mmsim.cli import BROKEN_PIPE, Size, guarded, main
from mmsim.strategies import BY_NAME

RACE = "dio_completes_after_seal"
THREE = [word for name in ("sealing_v2", "wait_for_pins", "delayed_unmap") for word in ("--strategy", name)]


def mmsim(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chekc"], ["'chekc'", "did you mean check?"]),
        (["check", "--stragety", "x"], ["--stragety", "--strategy"]),
        (["check", "dio_completes_after_sael"], ["dio_completes_after_sael", RACE]),
        (["check", RACE, "--strategy", "wait_for_pin"], ["'wait_for_pin'", "wait_for_pins"]),
        (["check", "no/such/file.py"], ["no/such/file.py"]),
        (["check", RACE, "--release", "v3.71"], ["'v3.71'"]),
        (["check", RACE, "--max-memory", "much"], ["'much'", "500M"]),
        (["check", RACE, "--max-states", "0"], ["--max-states"]),
        (["check", RACE, "--format", "xml"], ["'xml'", "json"]),
        (["check", RACE, "--random", "dice"], ["'dice'", "pct1"]),
        (["check", RACE, "--strategy", "no_such_file.py:x"], ["no_such_file.py"]),
        (["replay", RACE, "--strategy", "sealing_v2"], ["--schedule"]),
        (["replay", RACE, "--strategy", "sealing_v2", "--schedule", "reader"], ["'reader'", "reader7"]),
        (["replay", RACE, "--strategy", "sealing_v2", "--schedule", "nobody3"], ["'nobody'", "sealer"]),
        (["replay", RACE, "--strategy", "sealing_v2", "--schedule", "reader9999"], ["reader"]),
        (["simulate", RACE, "--delay", "slow"], ["'slow'", "DEVICE=DELAY"]),
        (["simulate", RACE, "--delay", "slow=nvmee"], ["'nvmee'", "did you mean nvme?"]),
        (["simulate", RACE, "--repeats", "2"], ["--repeats", "is a scenario"]),
        (["simulate", RACE, "--strategy", "sealing_v2", "--cpus", "1,2"], ["run once"]),
        (["simulate", RACE, "--cost", "clowd"], ["'clowd'", "did you mean cloud?"]),
        (["simulate", "gup_one_fil"], ["'gup_one_fil'", "did you mean 'gup_one_file'?"]),
        (["simulate", "gup_one_file", "--cpus", "0"], ["'0'", "1 to 1024"]),
        (["simulate", "gup_one_file", "--cpus", "two"], ["'two'", "1 to 1024"]),
        (["simulate", "gup_one_file", "--until", "5"], ["--until", "is a workload"]),
        (["simulate", "gup_one_file", "--seconds", "-1"], ["-1.0"]),
        (["simulate", "gup_one_file", "--seconds", "1e-9"], ["did not get through one"]),
        (["simulate", "gup_one_file", "--delay", "exponential:-5"], ["-5.0", "a duration"]),
        (["simulate", "gup_one_file", "--baseline", "wait_for_pin"], ["'wait_for_pin'", "wait_for_pins"]),
        (["simulate", "gup_one_file", "--plot", "x.gif"], ["x.gif", ".png or .svg"]),
        (["simulate", "gup_one_file", "--plot", "no/such/x.svg"], ["no folder"]),
        (["simulate", RACE, "--delay", "quick=7"], ["'quick'", "slow"]),
        (["simulate"], ["SCENARIO"]),
        (["list", "scenaros"], ["scenaros"]),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line(arguments, words):
    result = mmsim(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("mmsim: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


BAD_FILES = {
    "does not import": "import no_such_module",
    "`scenario`": '"""Nothing."""',
    "syntax": "def (",
    "unknown strategy": """
        from mmsim.scenario import Scenario
        from mmsim.verdict import HOLDS
        async def setup(sys): pass
        async def one(sys, shared): pass
        scenario = Scenario(setup, (one,), expect={"wait_for_pinz": HOLDS})
    """,
    "no step": """
        from mmsim.scenario import Scenario
        class Odd:
            def __await__(self):
                yield 7
        async def setup(sys): pass
        async def one(sys, shared):
            await Odd()
        scenario = Scenario(setup, (one,))
    """,
    "an exception": """
        from mmsim.scenario import Scenario
        async def setup(sys): pass
        async def one(sys, shared):
            await sys.memfd_create("x")
            return 1 // 0
        scenario = Scenario(setup, (one,))
    """,
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_scenario_file_is_one_line(name, tmp_path):
    import textwrap

    path = tmp_path / "bad.py"
    path.write_text(textwrap.dedent(BAD_FILES[name]))
    result = mmsim("check", path, "--strategy", "wait_for_pins")
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("mmsim: ")
    assert "bad.py" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_violation_that_is_expected():
    result = mmsim("check", RACE, "--strategy", "sealing_v2")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["reader", "(CPU0)", "sealer", "(CPU1)"]
    assert f"Test {RACE} sealing_v2" in lines
    assert "No (as expected)" in lines
    assert any(line.startswith(f"Observation {RACE} Sometimes ") for line in lines)
    assert any(line.startswith(f"Time {RACE} ") and "exhaustive" in line for line in lines)


def test_the_printed_replay_command_works():
    import shlex

    printed = mmsim("check", RACE, "--strategy", "sealing_v2").stdout
    (command,) = [line for line in printed.splitlines() if line.startswith("mmsim replay ")]
    again = mmsim(*shlex.split(command)[1:])
    assert again.exit_code == 0, again.output
    assert again.stdout.split("\n\n")[0] == printed.split("\n\n")[0]


def test_a_proof():
    result = mmsim("check", RACE, "--strategy", "wait_for_pins")
    assert result.exit_code == 0, result.output
    assert "Ok (as expected)" in result.stdout.splitlines()
    assert f"Observation {RACE} Never 0 " in result.stdout
    assert "mmsim replay" not in result.stdout


def test_a_bound_that_is_reached_is_undecided():
    result = mmsim("check", "users_and_a_sealer", "--strategy", "wait_for_pins", "--max-states", "50")
    assert result.exit_code == 3, result.output
    assert "Undecided: 50 states (expected: Holds)" in result.stdout.splitlines()
    assert "bounded (50 states)" in result.stdout


def test_sampling_decides_nothing_and_repeats_itself():
    once = mmsim("check", RACE, "--strategy", "wait_for_pins", "--random", "pct2", "--runs", 20, "--seed", 3)
    again = mmsim("check", RACE, "--strategy", "wait_for_pins", "--random", "pct2", "--runs", 20, "--seed", 3)
    assert once.exit_code == 3, once.output
    assert "sampled (20 pct2 walks)" in once.stdout
    without_time = [line for line in once.stdout.splitlines() if not line.startswith("Time")]
    assert without_time == [line for line in again.stdout.splitlines() if not line.startswith("Time")]


def test_an_unexpected_verdict(tmp_path):
    from pathlib import Path

    text = (Path(__file__).parent.parent / "scenarios" / f"{RACE}.py").read_text()
    changed = tmp_path / "changed.py"
    changed.write_text(text.replace('"sealing_v2": VIOLATED', '"sealing_v2": HOLDS'))
    result = mmsim("check", changed, "--strategy", "sealing_v2")
    assert result.exit_code == 1, result.output
    assert "No (expected: Holds)" in result.stdout


def test_a_sometimes_that_is_never_seen(tmp_path):
    from pathlib import Path

    text = (Path(__file__).parent.parent / "scenarios" / f"{RACE}.py").read_text()
    changed = tmp_path / "changed.py"
    changed.write_text(text.replace("return sealer.sealed == -EBUSY", "return sealer.sealed == 77"))
    result = mmsim("check", changed, "--strategy", "wait_for_pins")
    assert result.exit_code == 1, result.output
    assert "Never seen: seal_refused" in result.stdout


def test_json():
    result = mmsim("check", RACE, "--format", "json", "--jobs", "2")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["schema"] == "mmsim/1"
    verdicts = {one["test"]["strategy"]: one["verdict"] for one in document["results"]}
    assert list(verdicts) == list(BY_NAME)
    assert (verdicts["sealing_v2"], verdicts["wait_for_pins"]) == ("Violated", "Holds")
    keys = {"test", "verdict", "expected", "as_expected", "unwitnessed", "reason", "violation", "outcomes"}
    keys |= {"observation", "coverage", "seconds", "question", "history", "sometimes", "observed", "reused"}
    assert all(set(one) == keys for one in document["results"])
    assert document["results"][0]["violation"]["replay"].startswith("mmsim replay ")


def test_jobs_change_nothing():
    def table(jobs):
        return mmsim("compare", RACE, "nothing_races", "--jobs", jobs, "--fresh").stdout

    assert table(1) == table(3) != ""


def test_replay_in_json():
    result = mmsim("replay", RACE, "--strategy", "sealing_v2", "--schedule", "reader2 sealer1", "--format", "json")
    (replayed,) = json.loads(result.stdout)["results"]
    assert [step["thread"] for step in replayed["steps"]] == ["reader", "reader", "sealer"]
    assert replayed["violation"] is None


def test_replay_can_go_on():
    result = mmsim("replay", RACE, "--strategy", "sealing_v2", "--schedule", "reader2", "--then", "pos", "--seed", 5)
    assert result.exit_code == 0, result.output
    assert "sealer (CPU" in result.stdout


@pytest.mark.parametrize("what", ["scenarios", "strategies", "properties", "releases"])
def test_lists(what):
    result = mmsim("list", what)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip()
    names = [row["name"] for row in json.loads(mmsim("list", what, "--format", "json").stdout)["results"]]
    assert all(name in result.stdout for name in names)


def test_simulate():
    result = mmsim("simulate", RACE, "--delay", "slow=50000")
    assert result.exit_code == 0, result.output
    assert "reader" in result.stdout
    assert json.loads(mmsim("simulate", RACE, "--format", "json").stdout)["results"][0]["outcomes"]


def test_no_command_shows_the_help():
    result = mmsim()
    assert result.exit_code == 0
    assert "compare" in result.stdout


@pytest.mark.parametrize(
    ("text", "size"), [("500M", 500 << 20), ("2G", 2 << 30), ("2GiB", 2 << 30), ("4096", 4096), ("1kb", 1024)]
)
def test_sizes(text, size):
    assert Size().convert(text, None, None) == size


def test_ctrl_c_before_anything_is_known(capsys):
    def interrupted():
        raise KeyboardInterrupt

    assert guarded(interrupted) == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_an_internal_error_is_one_line_too(capsys):
    def broken():
        raise KeyError("x\ny")

    assert guarded(broken) == 2
    assert capsys.readouterr().err.startswith("mmsim: internal error, please report it: KeyError")


def test_a_reader_that_goes_away_is_no_error():
    command = f"set -o pipefail; {sys.executable} -m mmsim check {RACE} --jobs 1 | head -n 1 >/dev/null"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode in {0, BROKEN_PIPE}


def test_a_python_whose_frames_are_not_trusted_is_told(monkeypatch):
    from mmsim.engine import localstate

    monkeypatch.setattr(localstate, "TRUSTED", False)
    result = CliRunner().invoke(main, ["check", "nothing_races", "--strategy", "wait_for_pins", "--jobs", "1"])
    assert result.exit_code == 0
    assert "histories are kept apart" in result.output
    assert "Ok (as expected)" in result.output


def test_results_are_kept_and_told_of(tmp_path):
    def results(*more):
        return json.loads(mmsim("compare", RACE, *THREE, "--store", tmp_path, "--format", "json", *more).stdout)[
            "results"
        ]

    first = results()
    assert [one["reused"] for one in first] == [False] * 3
    again = results()
    assert [one["reused"] for one in again] == [True] * 3
    assert [{**one, "reused": False} for one in again] == first
    assert [one["reused"] for one in results("--fresh")] == [False] * 3
    assert "All 3 results were kept from earlier runs" in mmsim("compare", RACE, *THREE, "--store", tmp_path).stdout
    two = mmsim("compare", RACE, "two_sealers", "--store", tmp_path, "--strategy", "sealing_v2").stdout
    assert "1 of 2 results were kept" in " ".join(two.split())
    assert "judged in this one: two_sealers under sealing_v2" in " ".join(two.split())


def test_a_damaged_result_is_judged_anew(tmp_path):
    ask = ("compare", RACE, "--store", tmp_path, "--strategy", "wait_for_pins")
    mmsim(*ask)
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text().replace("Holds", "Violated"))
    told = mmsim(*ask).stdout
    assert "Holds" in told.splitlines()[1]
    assert "1 kept result was damaged and is judged anew" in " ".join(told.split())
    assert "All 1 results were kept" in mmsim(*ask).stdout


def test_what_is_not_complete_is_not_kept(tmp_path):
    for more in (("--max-states", 5), ("--random", "uniform", "--runs", 2), ("--first",)):
        mmsim("compare", RACE, "--store", tmp_path, "--strategy", "sealing_v2", *more)
        assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    result = mmsim("compare", RACE, "--store", tmp_path / "file", "--strategy", "sealing_v2")
    assert result.exit_code == 2
    assert "--store" in result.stderr


def test_compare_in_markdown():
    result = mmsim("compare", RACE, "--format", "markdown")
    assert result.exit_code == 0, result.output
    assert "| 1 sealing_v2 | 0/1 |" in result.stdout
    assert f"| {RACE} | V | . | . |" in result.stdout


def test_compare_in_json_has_the_designs():
    document = json.loads(mmsim("compare", RACE, *THREE, "--format", "json").stdout)
    first, second, third = document["designs"]
    assert [one["name"] for one in (first, second, third)] == ["sealing_v2", "wait_for_pins", "delayed_unmap"]
    assert first["broken"] == {"sealed content never changes": [RACE]}
    assert second["seal"]["sleeps_ns"] == 148_000_000
    assert third["drops"] == {"write_pins": ["hardirq"]}


def test_explain_a_violation():
    result = mmsim("explain", "sealing_v2", RACE)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"sealing_v2 on {RACE}, v3.17:")
    for words in ("mmsim replay", "Let reader raise", "It differs from `linux` in:", "sealing_v2 argues:"):
        assert words in result.stdout


def test_explain_a_proof():
    told = " ".join(mmsim("explain", "wait_for_pins", RACE).stdout.split())
    assert "sleeps up to 148 ms in memfd_wait_for_pins()" in told
    assert "seal_granted: reader=4096; sealer=Seen(sealed=0" in told
    assert "exclude_pins: memfd.memfd_wait_for_pins()" in told


def test_explain_what_there_is_not():
    assert mmsim("explain", "sealing_v3", RACE).exit_code == 2
    assert mmsim("explain", "sealing_v2", "no_such_scenario").exit_code == 2


HAMMER = ["simulate", "gup_one_page", "--seconds", "1e-5", "--repeats", "2"]


def test_a_workload_is_measured_against_a_baseline():
    result = mmsim(
        *HAMMER, "--cpus", "1,2", "--strategy", "delayed_unmap", "--baseline", "wait_for_pins", "--jobs", "1"
    )
    assert result.exit_code == 0
    assert "gup_one_page on v6.18, cost model cloud; an operation is one gup+unpin" in result.stdout
    assert "ratio to wait_for_pins, with its interval of 95 %" in result.stdout
    assert "struct page" in result.stdout


def test_a_workload_in_json_and_csv():
    document = json.loads(mmsim(*HAMMER, "--format", "json", "--jobs", "1").stdout)
    assert [(one["cpus"], one["seed"]) for one in document["results"]] == [(2, 0), (2, 1)]
    first = document["results"][0]
    assert first["figures"]["throughput 1/s"] > 0
    assert set(first) == {
        "workload", "strategy", "release", "cost", "cpus", "seed", "simulated_ns", "steps", "operation", "operations",
        "ended", "violation", "figures", "held", "lines", "locks",
    }  # fmt: skip
    assert set(first["lines"]["struct page"]) == {"fills", "transfers", "memory", "queued_ns"}
    header, *rows = mmsim(*HAMMER, "--format", "csv", "--jobs", "1").stdout.splitlines()
    assert header.startswith("workload,strategy,release,cost,cpus,seed")
    assert len(rows) == 2
    assert all(row.count(",") == header.count(",") for row in rows)


def test_jobs_change_no_measurement():
    alone, together = (mmsim(*HAMMER, "--cpus", "1,2", "--jobs", jobs).stdout for jobs in ("1", "2"))
    assert alone == together


def test_a_workload_is_watched():
    watched = ["simulate", "video_frames", "--seconds", "0.002", "--repeats", "1", "--watch", "--jobs", "1"]
    assert mmsim(*watched).exit_code == 0


def test_a_scenario_on_a_cost_model():
    result = mmsim("simulate", RACE, "--cost", "server", "--delay", "slow=nvme", "--cpus", "4")
    assert result.exit_code == 0
    assert "every thread finished" in result.stdout
