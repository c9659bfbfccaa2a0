"""The command line: check, compare, explain, replay, list, simulate, conform, emit-c."""

from mmsim.cli import emitting, judging, running, simulating
from mmsim.cli.base import BROKEN_PIPE, Size, guarded, main

__all__ = ["BROKEN_PIPE", "Size", "emitting", "guarded", "judging", "main", "running", "simulating"]
