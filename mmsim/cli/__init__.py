"""The command line: check, compare, explain, replay, list, simulate, conform."""

from mmsim.cli import judging, running, simulating
from mmsim.cli.base import BROKEN_PIPE, Size, guarded, main

__all__ = ["BROKEN_PIPE", "Size", "guarded", "judging", "main", "running", "simulating"]
