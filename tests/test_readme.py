"""Every command in the README prints what the README says."""

from __future__ import annotations

import pytest

from tests import readme

COMMANDS = [command for block in readme.blocks() for command in readme.commands(block)]


@pytest.mark.parametrize("command", COMMANDS, ids=[f"{n}: {c.text.splitlines()[0]}" for n, c in enumerate(COMMANDS)])
def test_command(command):
    assert readme.normal(readme.run(command.text)) == readme.normal(command.output), "`make readme` writes it down anew"


def test_there_are_some():
    assert len(COMMANDS) >= 3


def test_commands_are_read_as_printed():
    block = "$ mmsim a\nout\n\nmore\n$ mmsim b \\\n  --c\n$ mmsim d\n"
    assert readme.commands(block) == [
        readme.Command("mmsim a", "out\n\nmore"),
        readme.Command("mmsim b \\\n  --c", ""),
        readme.Command("mmsim d", ""),
    ]


def test_times_and_hashes_do_not_matter():
    assert readme.normal("Time x 0.41 s, exhaustive\nHash 12ab") == readme.normal("Time x 7.00 s, exhaustive\nHash ff")
    assert readme.normal("States 3") != readme.normal("States 4")
