"""The catalogue's index is up to date and leaves nobody out."""

from __future__ import annotations

from mmsim import catalogue
from mmsim.scenario import QUESTIONS
from tests import index


def test_it_is_up_to_date():
    assert index.INDEX.read_text() == index.text(), "`make index` writes it down anew"


def test_every_scenario_has_a_chapter():
    assert {catalogue.find(name).scenario.question for name in catalogue.names()} <= set(QUESTIONS)
    assert all(f"**[{name}]" in index.text() for name in catalogue.names())
