"""The comparison of many designs on many scenarios: from results made up here, to the letter where it is short."""

from __future__ import annotations

import re

import pytest

from mmsim.report.comparison import Comparison, mark, markdown, text
from mmsim.report.design import design, designs, remarks
from mmsim.scenario import QUESTIONS
from mmsim.strategies import BY_NAME

NAMES = [f"a_design_with_a_rather_long_{number:02}" for number in range(21)]
SCENARIOS = [f"a_scenario_that_has_quite_some_name_{number:02}" for number in range(80)]


def result(scenario, strategy, verdict="Holds", **more):
    seal = {"sleeps_ns": more.pop("sleeps", 0), "steps": 6, "sleeps_in": more.pop("sleeps_in", [])}
    return {
        "test": {"scenario": scenario, "strategy": strategy, "release": more.pop("release", "v3.17"), "hash": "h"},
        "verdict": verdict,
        "expected": more.pop("expected", verdict),
        "as_expected": more.pop("as_expected", True),
        "unwitnessed": more.pop("unwitnessed", []),
        "violation": {"steps": 19, "property": "sealed content never changes"} if verdict == "Violated" else None,
        "question": more.pop("question", "seal"),
        "history": more.pop("history", False),
        "reused": more.pop("reused", False),
        "observed": {
            "waits": [dict(zip(("call", "function", "field"), wait, strict=True)) for wait in more.pop("waits", ())],
            "seal": seal,
            "needless": more.pop("needless", []),
            "drops": [dict(zip(("field", "context", "last"), drop, strict=True)) for drop in more.pop("drops", ())],
        },
        **more,
    }


def comparison(results, **how):
    return Comparison(designs(results, BY_NAME), results, **how)


def matrix():
    questions = list(QUESTIONS)
    return [
        result(scenario, name, "Violated" if number % 7 == column % 5 else "Holds", question=questions[number % 8])
        for number, scenario in enumerate(SCENARIOS)
        for column, name in enumerate(NAMES)
    ]


IN_MUNMAP = ("munmap", "wait_for_writers", "write_pins")
IN_EXIT = ("exit", "do_exit", "reqs_active")


def test_a_whole_matrix_fits_into_100_columns():
    told = text(comparison(matrix()))
    assert max(map(len, told.splitlines())) <= 100
    for number, name in enumerate(NAMES, 1):
        assert f"{number:2} {name[:15]}" in told
    for scenario in SCENARIOS:
        assert re.search(rf"^{scenario} ", told, re.MULTILINE)
    for question in list(QUESTIONS.values())[:8]:
        assert question in told


def test_every_cell_of_the_matrix_is_there():
    told = text(comparison(matrix()))
    cells = {}
    tens = ones = ""
    for line in told.splitlines():
        if line.startswith(" ") and not line.strip(" 0123456789"):
            tens, ones = ones, line
        elif line.split(" ")[0] in SCENARIOS and ones:
            for at, digit in enumerate(ones):
                if digit != " " and line[at : at + 1].strip():
                    cells[line.split(" ")[0], int(tens[at : at + 1].strip() + digit)] = line[at]
    wanted = {(one["test"]["scenario"], NAMES.index(one["test"]["strategy"]) + 1): mark(one) for one in matrix()}
    assert cells == wanted


def test_what_was_not_expected_comes_first():
    results = matrix()
    results[50] |= {
        "as_expected": False,
        "expected": "Holds",
        "verdict": "Violated",
        "violation": {"steps": 3, "property": "p"},
    }
    odd = results[50]["test"]
    told = text(comparison(results))
    first, _, _ = told.partition("\n\n")
    assert " ".join(first.split()) == f"{odd['scenario']} under {odd['strategy']}: Violated, expected Holds"
    assert re.search(rf"^{odd['scenario']} .* !", told, re.MULTILINE)
    assert markdown(comparison(results)).startswith("## Not as expected\n\n- ")


def test_colour_changes_nothing_else():
    told = comparison(matrix())
    assert re.sub("\x1b\\[[0-9;]*m", "", text(told, colour=True)) == text(told)
    assert "\x1b" in text(told, colour=True)
    assert "\x1b" not in text(told)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "."),
        ({"verdict": "Violated"}, "V"),
        ({"verdict": "Undecided"}, "?"),
        ({"as_expected": False}, "!"),
        ({"verdict": "Undecided", "as_expected": False}, "?"),
        ({"waits": [IN_MUNMAP]}, "w"),
        ({"waits": [IN_EXIT]}, "."),
        ({"waits": [("wait_for", "wait_for_io", "result")]}, "."),
        ({"needless": ["refused"]}, "n"),
        ({"waits": [IN_EXIT, IN_MUNMAP], "needless": ["refused"]}, "b"),
        ({"waits": [IN_EXIT, IN_MUNMAP], "verdict": "Violated"}, "V"),
    ],
)
def test_marks(more, expected):
    assert mark(result("a", "b", **more)) == expected


def test_a_row():
    row = design(
        [
            result("a", "d", waits=[IN_EXIT], drops=[("_refcount", "task", True), ("_refcount", "hardirq", False)]),
            result("b", "d", "Violated", sleeps=148_000_000, sleeps_in=["memfd_wait_for_pins"]),
            result("c", "d", waits=[IN_MUNMAP], needless=["refused"], drops=[("write_pins", "hardirq", True)]),
            result("e", "d", "Undecided", as_expected=False),
        ],
        "d",
        None,
    )
    assert (row.holds, row.of, row.violated, row.unexpected) == (2, 4, ("b",), ())
    assert (row.waits_in("munmap"), row.waits_in("exit"), row.waits_in("close")) == ("yes", "aio", "-")
    assert (row.seal, row.irq) == ("148 ms", "own")
    assert row.needless == {"c": ("refused",)}
    assert row.broken == {"sealed content never changes": ("b",)}
    assert remarks(row) == [
        "`sealed content never changes` is broken in b",
        "refuses needlessly in c",
        "munmap waits for a silent device in wait_for_writers()",
        "a seal sleeps in memfd_wait_for_pins() and takes at most 6 steps",
    ]


@pytest.mark.parametrize(
    "more", [{"sleeps": None}, {"waits": [("add_seals", "wait", "_refcount")]}], ids=["a loop", "a wait"]
)
def test_a_seal_that_can_be_held_off_for_ever(more):
    assert design([result("a", "d"), result("b", "d", **more)], "d", None).seal == "for ever"


def test_past_releases_count_for_no_design():
    past = [
        result("old_bug", "wait_for_pins", "Violated", release="v4.8", history=True, question="history"),
        result("old_bug", "wait_for_pins", release="v4.9", history=True, question="history"),
    ]
    told = comparison([*matrix(), result("now", "wait_for_pins"), *past])
    (row,) = [one for one in told.designs if one.name == "wait_for_pins"]
    assert (row.holds, row.of) == (1, 1)
    assert "old_bug  v4.8 Violated, v4.9 Holds" in text(told)
    assert "| old_bug | v4.8 Violated, v4.9 Holds |" in markdown(told)


def test_few_cells_are_words_with_the_release_where_it_matters():
    told = text(comparison([result("old_bug", "wait_for_pins", "Violated", release="v4.8", history=True)]))
    assert told.splitlines()[:2] == ["scenario      wait_for_pins", "old_bug v4.8  Violated 19"]


def said(results, **how):
    return " ".join(text(comparison(results, **how)).split())


def test_what_was_reused_is_told():
    new, old = result("a", "sealing_v2"), result("b", "sealing_v2", reused=True)
    assert "All 1 results were judged in this run." in said([new])
    assert "All 1 results were judged in this run (--fresh)." in said([new], fresh=True)
    assert "All 1 results were kept from earlier runs" in said([old])
    assert "1 of 2 results were kept from earlier runs; judged in this one: a under sealing_v2." in said([new, old])
    assert "2 kept results were damaged and are judged anew. All" in said([new], damaged=2)
    many = [result(f"s{number}", "sealing_v2") for number in range(9)]
    assert "s5 under sealing_v2 and 3 more." in said([*many, old])


def test_prices_are_those_of_the_release_asked_for():
    row = {
        name: design([result("a", "pin_user_pages")], "pin_user_pages", BY_NAME["pin_user_pages"], name)
        for name in ("v3.17", "v6.18")
    }
    assert row["v3.17"].price != row["v6.18"].price
    told = Comparison(tuple(row.values()), [result("a", "pin_user_pages")], priced_on="v6.18")
    assert "more than `linux` on v6.18" in text(told)
