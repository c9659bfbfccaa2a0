"""The designs, one file each.  A new one is `attrs.evolve(linux, ...)`; see mmsim.kernel.strategy for the points."""

from mmsim.strategies.delayed_unmap import delayed_unmap
from mmsim.strategies.sealing_v2 import sealing_v2
from mmsim.strategies.wait_for_pins import wait_for_pins

STRATEGIES = (sealing_v2, wait_for_pins, delayed_unmap)

BY_NAME = {strategy.name: strategy for strategy in STRATEGIES}
