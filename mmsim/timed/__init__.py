"""The timed driver: a machine on a simulated clock, with CPUs, queueing locks and slow devices.  All times are in ns.

result = simulate(machine, cpus=2, seed=0, cost=FlatCost(10), delays={"SLOW": Fixed(100_000)}, timeline=True)
"""

from mmsim.timed.costs import CacheCost, Cost, Figures, FlatCost
from mmsim.timed.delays import Delay, Exponential, Fixed, LogNormal, Never, Pareto, Sometimes, Trace
from mmsim.timed.layout import Layout, layout_of
from mmsim.timed.result import RUNNING, Blocked, Ended, LockUse, Result, SystemCall, TimedStep
from mmsim.timed.run import simulate

__all__ = [
    "RUNNING",
    "Blocked",
    "CacheCost",
    "Cost",
    "Delay",
    "Ended",
    "Exponential",
    "Figures",
    "Fixed",
    "FlatCost",
    "Layout",
    "LockUse",
    "LogNormal",
    "Never",
    "Pareto",
    "Result",
    "Sometimes",
    "SystemCall",
    "TimedStep",
    "Trace",
    "layout_of",
    "simulate",
]
