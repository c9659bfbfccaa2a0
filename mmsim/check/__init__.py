"""Judging: one scenario under one strategy, in every interleaving, along random ones, or along a given one."""

from mmsim.check.bounds import Bounds, Progress
from mmsim.check.judge import Judgement, Test, judge
from mmsim.check.replay import execute
from mmsim.check.run import check, sample
from mmsim.check.schedule import parse_schedule

__all__ = ["Bounds", "Judgement", "Progress", "Test", "check", "execute", "judge", "parse_schedule", "sample"]
