"""Mistakes after which a loop of the kernel is never left, each of which the checker must find."""

from __future__ import annotations

from mmsim.engine.progress import NO_LIVELOCK
from mmsim.kernel.memory import copy_page
from mmsim.kernel.page_alloc import get_cache_references, put_cache_references, put_page
from mmsim.strategies.copy_on_seal import copy_on_seal
from tests.mutants import scenes, test_force
from tests.mutants.judged import Mutant, each
from tests.mutants.scenes import scene

FAULTED = scene(scenes.private, scenes.loader, scenes.sealer)


async def replace_and_name_no_file(k, mapping, index, page):
    """Whoever locks the copy takes it for one that was cut off, and looks again."""
    copy = await copy_page(k, page, page.nr_pages)
    await get_cache_references(copy)
    await copy.index.store(index)
    await mapping.slot(index).store(copy)
    await page.mapping.store(None)
    await put_cache_references(page)
    await put_page(k, page)


async def follow_what_is_writable(_k, _vma, pte, _flags):
    """What Linux would do without FOLL_FORCE in its look: no fault makes a read-only mapping's entry writable."""
    return pte.write


MUTANTS = [
    Mutant(
        "a page that took another's place knows no file",
        FAULTED,
        NO_LIVELOCK,
        (("strategies.replacing", "replace_page", replace_and_name_no_file),),
        strategy=copy_on_seal,
    ),
    Mutant(
        "a forced write waits for an entry that may be written",
        scene(test_force.sealed_and_private, test_force.forcer),
        NO_LIVELOCK,
        (("kernel.gup", "can_follow_write_pte", follow_what_is_writable),),
        release="v5.1",
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
