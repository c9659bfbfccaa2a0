"""The designs, one file each.  A new one is `attrs.evolve(linux, ...)`; see mmsim.kernel.strategy for the points."""

from mmsim.strategies.copy_on_seal import copy_on_seal
from mmsim.strategies.delayed_unmap import delayed_unmap
from mmsim.strategies.delayed_unmap_locked import delayed_unmap_irq_lock, delayed_unmap_irqsave, delayed_unmap_mutex
from mmsim.strategies.delayed_unmap_order import delayed_unmap_look_first, delayed_unmap_sync
from mmsim.strategies.delayed_unmap_zap import delayed_unmap_zap
from mmsim.strategies.leftover_flag import leftover_flag
from mmsim.strategies.page_replacement import page_replacement
from mmsim.strategies.pin_user_pages import pin_user_pages
from mmsim.strategies.put_user_pages import put_user_pages, put_user_pages_unconverted
from mmsim.strategies.refuse_if_pinned import refuse_if_pinned
from mmsim.strategies.sealing_v2 import sealing_v2
from mmsim.strategies.split_page_count import split_page_count
from mmsim.strategies.unmap_then_look import unmap_then_replace, unmap_then_wait
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.strategies.writable_user_pages import (
    writable_user_pages,
    writable_user_pages_lookup,
    writable_user_pages_slow,
)

STRATEGIES = (
    sealing_v2,
    wait_for_pins,
    page_replacement,
    writable_user_pages_slow,
    writable_user_pages_lookup,
    writable_user_pages,
    put_user_pages,
    put_user_pages_unconverted,
    pin_user_pages,
    delayed_unmap,
    delayed_unmap_zap,
    delayed_unmap_mutex,
    delayed_unmap_irq_lock,
    delayed_unmap_irqsave,
    delayed_unmap_look_first,
    delayed_unmap_sync,
    leftover_flag,
    split_page_count,
    refuse_if_pinned,
    copy_on_seal,
    unmap_then_wait,
    unmap_then_replace,
)

BY_NAME = {strategy.name: strategy for strategy in STRATEGIES}
