"""The README's commands and what they print, kept true.

A block that begins with ```console and `$ ` lines is run by the Python that runs this file, in a folder that holds the
README's own files: every block that begins with ```python and `# NAME.py`.  What follows a command, up to the next `$ `, is its output.  Times and hashes are compared as such.  Results that were kept elsewhere are not seen.
Blocks that begin with ```sh are for the reader's eyes and are not run.

    python -m tests.readme --write      # run everything again and write down what it prints
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^```python\n(?P<text># (?P<name>\w+\.py)\n.*?)^```$", re.MULTILINE | re.DOTALL)
VARIES = (
    (re.compile(r"\b\d+\.\d+ s\b"), "N s"),
    (re.compile(r"^Hash [0-9a-f]+$", re.MULTILINE), "Hash H"),
    (re.compile(r"\b[\d,]+ states/s\b"), "N states/s"),
)


class Command(NamedTuple):
    """One command of the README and the output printed beneath it."""

    text: str
    output: str


def commands(block: str) -> list[Command]:
    """The commands of one block, in order."""
    found = []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        continued = 1 + next((n for n, line in enumerate(lines) if not line.endswith("\\")), 0)
        found.append(Command("\n".join(lines[:continued]), "\n".join(lines[continued:])))
    return found


def blocks() -> list[str]:
    """The text of every block that is run."""
    return [match[1] for match in BLOCK.finditer(README.read_text())]


def run(command: str) -> str:
    """What a command prints, its standard error included."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with tempfile.TemporaryDirectory() as folder:
        for match in FILE.finditer(README.read_text()):
            (Path(folder) / match["name"]).write_text(match["text"])
        return _run_in(folder, command, path)


def _run_in(folder: str, command: str, path: str) -> str:
    mmsim = f'mmsim() {{ {shlex.quote(sys.executable)} -m mmsim "$@"; }}'  # whether it is installed or not
    done = subprocess.run(
        ["bash", "-c", f"{mmsim}\n{command}"],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": folder},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stdout.rstrip("\n")


def normal(text: str) -> str:
    """Text without what differs from run to run."""
    for pattern, name in VARIES:
        text = pattern.sub(name, text)
    return text.strip("\n")


def rewritten(text: str) -> str:
    """The README with every command's present output."""

    def again(match: re.Match[str]) -> str:
        parts = []
        for command in commands(match[1]):
            output = run(command.text)
            if normal(output) == normal(command.output):
                output = command.output  # leave times alone where nothing else changed
            parts.append(f"$ {command.text}\n{output}\n" if output else f"$ {command.text}\n")
        return "```console\n" + "".join(parts) + "```"

    return BLOCK.sub(again, text)


if __name__ == "__main__":
    new = rewritten(README.read_text())
    if "--write" in sys.argv:
        README.write_text(new)
    else:
        sys.exit(new != README.read_text())
