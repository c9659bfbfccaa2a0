"""`mmsim conform --strace FILE` as a user meets it, and damaged logs, which are told of and never a stack trace."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from mmsim.cli import main
from mmsim.conformance.recorded.log import parsed
from mmsim.conformance.recorded.run import replay
from mmsim.kernel.releases import release_named
from mmsim.report import recorded as report
from mmsim.strategies.wait_for_pins import wait_for_pins

SAMPLES = Path(__file__).parent / "samples"
SAMPLE = SAMPLES / "frames_symbolic.log"
LINES = SAMPLE.read_text().splitlines()
ODD = ("", "0", "-1", "18446744073709551615", "0xffffffff", "NULL", "...", "<unfinished ...>", '"', "(", ")", "|", "\0")


def conform(*arguments):
    return CliRunner().invoke(main, ["conform", *map(str, arguments)])


def test_agreement():
    result = conform("--strace", SAMPLE, "--release", "v6.18.44")
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == "213 of 213 answers agreed, of 232 calls in 236 lines"


def test_differences():
    result = conform("--strace", SAMPLE, "--release", "v6.18")
    assert result.exit_code == 0, "nothing in it asks what has changed since"
    result = conform("--strace", SAMPLE, "--release", "v6.2")
    assert result.exit_code == 1
    assert "Linux 32, the model -EINVAL" not in result.output
    assert 'memfd_create("guarded"' in result.output
    assert "Linux 3, the model -EINVAL" in result.output
    assert "What differs later may follow from what differed first." in result.output


def test_lines_that_cannot_be_read(tmp_path):
    path = tmp_path / "log"
    path.write_text("\n".join([*LINES, "hello \x1b[1mworld"]))
    result = conform("--strace", path, "--release", "v6.18.44")
    assert result.exit_code == 3
    assert (
        f"line {len(LINES) + 1} cannot be read (no system call, signal or exit): hello \\x1b[1mworld" in result.output
    )


def test_json():
    result = conform("--strace", SAMPLE, "--release", "v6.2", "--format", "json")
    answer = json.loads(result.output)
    (told,) = answer["results"]
    assert (answer["command"], answer["status"], told["lines"], told["calls"]) == ("conform", 1, 236, 232)
    assert told["agreed"] + len(told["differences"]) == sum(told["compared"].values())
    assert set(told["differences"][0]) == {"line", "call", "linux", "model"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--strace", "no_such.log"], "no_such.log: No such file"),
        (["--strace", SAMPLES / "frames.c"], "no line is a system call"),
        (["--strace", SAMPLE, "--random", "3"], "give it --release, --strategy"),
        (["nothing_races", "--strace", SAMPLE], "give it --release, --strategy"),
        (["--strace", SAMPLE, "--release", "v9.9"], "'v9.9'"),
        (["--strace", SAMPLE, "--strategy", "nobody"], "'nobody'"),
    ],
)
def test_bad_input(arguments, words):
    result = CliRunner().invoke(main, ["conform", *map(str, arguments)])
    assert result.exit_code == 2
    assert words in result.output
    assert len(result.output.splitlines()) == 1


def damaged(seed):
    """The sample with lines lost, moved, repeated, cut and overwritten."""
    chance = random.Random(seed)
    lines = LINES[chance.randrange(60) : chance.randrange(80, 140)]
    for _ in range(chance.randint(1, 12)):
        at = chance.randrange(len(lines))
        line = lines.pop(at)
        column = chance.randint(0, len(line))
        match chance.choice(["lose", "repeat", "move", "cut", "overwrite"]):
            case "repeat":
                lines[at:at] = [line, line]
            case "move":
                lines.insert(chance.randint(0, len(lines)), line)
            case "cut":
                lines.insert(at, line[:column])
            case "overwrite":
                lines.insert(at, line[:column] + chance.choice(ODD) + line[column + 1 :])
    return lines


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_log_is_no_stack_trace(seed):
    lines = damaged(seed)
    result = replay(parsed(lines), wait_for_pins, release_named("v6.18.44"))
    told = report.text(result)
    assert told.splitlines()[-1].startswith(f"{result.equal:,} of {result.compared:,} answers agreed")
    asked = result.compared + result.followed + sum(count for _, count in (*result.outside, *result.not_compared))
    assert asked <= result.calls + len(result.differences)
