"""Scenarios drawn from seeds: right designs break nothing in them, and the reduction finds what the whole search finds."""

from __future__ import annotations

import pytest

from mmsim.kernel import migrate
from tests.check.random_scenarios import complaint, drawn


@pytest.mark.parametrize("batch", range(8))
def test_a_right_design_breaks_nothing_and_both_searches_agree(batch):
    for number in range(20):
        one = drawn(f"{batch}/{number}")
        assert complaint(one, unreduced=number % 4 == 0) is None, one


async def asks_nobody(page, expected):
    return True


def test_a_mistake_in_a_path_is_found_by_them(monkeypatch):
    """Or the test above could not fail."""
    monkeypatch.setattr(migrate, "page_ref_freeze", asks_nobody)
    assert any(complaint(drawn(f"0/{number}"), unreduced=False) for number in range(100))
