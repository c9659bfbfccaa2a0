"""The catalogue's index is up to date and leaves nobody out."""

from __future__ import annotations

import pytest

from mmsim import catalogue
from mmsim.scenario import QUESTIONS
from tests import index


@pytest.fixture(scope="module")
def text():
    return index.text()


def test_it_is_up_to_date(text):
    assert index.INDEX.read_text() == text, "`make index` writes it down anew"


@pytest.mark.parametrize(("name", "opening"), index.introductions().items())
def test_a_chapter_opens_with_one_paragraph_about_scenarios_of_its_own(name, opening, text):
    assert name in QUESTIONS, f"{index.CHAPTERS}: {name!r} is no chapter of mmsim/scenario.py"
    assert "\n\n" not in opening
    assert opening.endswith(".")
    assert all(len(line) <= 120 for line in opening.splitlines())
    named = set(opening.split("`")[1::2]) & set(catalogue.names())
    assert {catalogue.find(each).scenario.question for each in named} <= {name}
    words = {word for word in opening.split("`")[1::2] if word.isidentifier()}
    assert words - named <= {"i_mmap_writable", "i_writecount"}, "in backticks stands what exists"
    assert f"## {QUESTIONS[name]}\n\n{opening}\n\n**[" in text


def test_every_scenario_has_a_chapter(text):
    assert {catalogue.find(name).scenario.question for name in catalogue.names()} <= set(QUESTIONS)
    assert all(f"**[{name}]" in text for name in catalogue.names())


def test_a_chapter_that_nothing_opens_is_told(monkeypatch):
    monkeypatch.setattr(index, "introductions", dict)
    with pytest.raises(AssertionError, match="nothing opens the chapter 'seal'"):
        index.text()
