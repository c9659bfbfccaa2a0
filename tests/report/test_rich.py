"""Answers as HTML: well formed, escaped, with nothing fetched, and saying what the text says."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import attrs
import pytest

from mmsim import api
from mmsim.check import Test
from mmsim.conformance.run import ConformanceResult
from mmsim.conformance.sequential.program import Call
from mmsim.conformance.sequential.run import Difference, ProgramsResult
from mmsim.kernel.releases import release_named
from mmsim.report import html, plots, rich
from mmsim.report.answers import Conformed, Costs, ProgramsConformed
from mmsim.strategies import BY_NAME
from mmsim.verdict import WAITING
from tests.report.samples import RACE as RACED
from tests.report.test_text import BROKEN, SCENARIO

RACE = "dio_completes_after_seal"
VOID = {"br", "img"}


class Reader(HTMLParser):
    """What a browser would see: tables as rows of cells, and the text; what is not closed is a failure."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.text, self.tags = [], [], "", set()
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        for name, value in attributes:
            assert name in {"style", "colspan", "src", "alt"}, name
            assert "url(" not in value
            assert name != "src" or value.startswith("data:image/png;base64,")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def read(shown):
    text = shown._repr_html_()
    assert not re.search(r"https?://|<script|<style|<link|@import", text)
    return Reader(text)


def words(text):
    return " ".join(text.split())


def test_no_value_is_taken_for_markup():
    read = Reader(
        html.rendered(html.grid(["<b>"], [["<script>alert('&amp;')</script>"]]), *html.paragraph("a < b & c"))
    )
    assert read.rows == [["<b>"], ["<script>alert('&amp;')</script>"]]
    assert "script" not in read.tags
    assert "a < b & c" in read.text


def test_a_violation():
    found = api.check(RACE, "sealing_v2")
    seen = read(found)
    assert seen.text.startswith("Violated")
    diagram = str(found).partition("\n\n")[0]
    assert diagram.strip() in seen.text  # as it is, in columns
    assert found.replay in seen.text
    for part in str(found).split("\n\n")[1:3]:  # the sentence and the argument
        assert words(part) in words(seen.text)
    assert len(seen.rows) == 1 + len(found.outcomes)
    assert seen.rows[0] == ["reader", "sealer"]
    for reader, sealer in seen.rows[1:]:
        assert f"reader={'WAITING' if reader == WAITING.value else reader}; sealer={sealer};" in found.outcomes


def test_an_outcome_that_breaks_a_property_says_so():
    seen = Reader(rich.verdict(BROKEN))
    assert seen.rows == [["sealer", "breaks"], ["-16", ""], ["0", "seal_is_refused"]]


def test_undecided_is_neither_good_nor_bad():
    found = api.check(RACE, "wait_for_pins", max_states=10)
    assert read(found).text.startswith("Undecided")
    assert found.verdict.reason in read(found).text
    assert html.TINTS["open"] in found._repr_html_()
    assert html.TINTS["good"] not in found._repr_html_()


def test_what_holds_and_what_was_never_seen():
    found = api.check("nothing_races", "wait_for_pins")
    assert read(found).text.startswith("Holds")
    unseen = attrs.evolve(found, judgement=attrs.evolve(found.judgement, unwitnessed=("never_happens",)))
    seen = read(unseen)
    assert "Never seen  never_happens" in seen.text
    assert html.TINTS["bad"] in unseen._repr_html_()  # a Holds that proves nothing is not green


def test_a_comparison_has_every_cell_of_the_text():
    table = api.compare(
        RACE, "dio_write_out", "dirty_cow", strategies=["sealing_v2", "wait_for_pins", "split_page_count"]
    )
    seen = read(table)
    by_name = {row[0]: row[1:] for row in seen.rows if row}
    violated = next(one for one in table.results if one["verdict"] == "Violated")
    steps = violated["violation"]["steps"]
    assert by_name[RACE] == [f"Violated {steps}", "Holds", "Holds"]
    assert by_name["dio_write_out"] == ["Holds", "Holds, refuses needlessly", "Holds"]
    assert any("v4.8 Violated, v4.9 Holds" in row[0] for row in seen.rows if row)
    assert by_name[" 2 wait_for_pins"][4] == "148 ms"
    assert "148 ms" in str(table)


def test_what_was_not_expected_stands_first():
    table = api.compare("nothing_races", strategies=["wait_for_pins"])
    wrong = [{**table.results[0], "as_expected": False, "expected": "Violated"}]
    seen = read(attrs.evolve(table, results=wrong))
    assert seen.rows[0] == ["not as expected"]
    assert seen.rows[1] == ["nothing_races under wait_for_pins: Holds, expected Violated"]


def test_many_designs_have_marks_and_numbers():
    table = api.compare("nothing_races", strategies=["wait_for_pins"])
    one, design = table.results[0], table.designs[0]
    names = [f"design_{number}" for number in range(9)]
    results = [{**one, "test": {**one["test"], "strategy": name}} for name in names]
    wide = attrs.evolve(table, results=results, designs=tuple(attrs.evolve(design, name=name) for name in names))
    rows = read(wide).rows
    assert rows[0] == ["", *map(str, range(1, 10))]
    assert ["nothing_races", *("." * 9)] in rows


def test_an_explanation_has_its_sections():
    seen = read(api.explain("dio_then_exit"))
    for said in ("What has to be possible", "exit is left waiting for reqs_active", "It differs from `linux` in:"):
        assert said in seen.text


def test_a_replay_and_a_timed_run():
    found = api.check(RACE, "sealing_v2")
    schedule = str(found.verdict.violation.schedule)
    assert read(api.replay(RACE, "sealing_v2", schedule)).text.startswith("breaks a property")
    before = api.replay(RACE, "sealing_v2", schedule.rpartition(" ")[0])
    seen = read(before)
    assert seen.text.startswith("breaks nothing")
    assert seen.rows[1:] == [["reader", "-"], ["sealer", "-"]]
    run = api.simulate(RACE, "sealing_v2", delays={"slow": "20us"})
    seen = read(run)
    assert seen.text.startswith("finished")
    assert str(run) in seen.text  # the timeline, folded
    assert ["reader", "4096"] in seen.rows


def test_costs_in_short_and_in_full(monkeypatch):
    found = api.measure(
        "gup_one_file", "writable_user_pages", baseline="wait_for_pins", cpus=(1, 2), repeats=2, seconds=0.000005
    )
    monkeypatch.setattr(plots, "there", lambda: False)
    seen = read(found)
    assert seen.rows[0][:4] == ["design", "CPUs", "throughput 1/s", "its ratio"]
    assert "img" not in seen.tags
    assert [row[:2] for row in seen.rows[1:5]] == [
        ["wait_for_pins", "1"],
        ["wait_for_pins", "2"],
        ["writable_user_pages", "1"],
        ["writable_user_pages", "2"],
    ]
    assert seen.rows[1][3] == ""
    assert seen.rows[4][3] in str(found)
    for row in seen.rows:  # every figure and every ratio
        for cell in row[1:]:
            assert cell in str(found) or cell == "its ratio"
    assert read(Costs(())).text == "nothing was measured"


def test_costs_have_curves_where_they_can_be_drawn():
    pytest.importorskip("matplotlib")
    one = api.measure("gup_one_file", cpus=1, repeats=1, seconds=0.000005)
    assert "img" not in read(one).tags  # of one point there is no curve
    two = api.measure("gup_one_file", cpus=(1, 2), repeats=1, seconds=0.000005)
    assert "img" in read(two).tags


TEST = Test("race", SCENARIO, BY_NAME["wait_for_pins"], release_named("v3.17"))
GOOD, BAD = (("sealer", 0),), (("sealer", 7),)


def test_conformance():
    result = ConformanceResult("6.18", 12, ((GOOD, 11), (BAD, 1)), impossible=(BAD,), unseen=((("sealer", 3),),))
    seen = read(Conformed(TEST, result, complete=True))
    assert seen.text.startswith("No")
    assert seen.rows == [
        ["runs", "sealer", "the model says"],
        ["11", "0", "allowed"],
        ["1", "7", "not in the model"],
        ["0", "3", "allowed, never seen"],
    ]
    assert read(Conformed(TEST, attrs.evolve(result, impossible=()), complete=True)).text.startswith("Ok")
    assert read(Conformed(TEST, result, complete=False)).text.startswith("No")
    undecided = Conformed(TEST, attrs.evolve(result, impossible=()), complete=False)
    assert read(undecided).text.startswith("Undecided")
    stuck = Conformed(TEST, attrs.evolve(result, impossible=(), stuck=("run 3 did not end",)), complete=True)
    assert read(stuck).text.startswith("No")
    assert "run 3 did not end" in read(stuck).text
    skipped = Conformed(TEST, ConformanceResult("6.18", 0, skipped="no FUSE here"), complete=True)
    assert read(skipped).text.startswith("Skipped")
    assert "no FUSE here" in repr(skipped)


def test_random_programs():
    calls = (Call(0, "memfd_create", ("file", 0)), Call(0, "ftruncate", (3, 4096)))
    result = ProgramsResult("6.18", "v6.18", "wait_for_pins", 5, programs=10, agreed=10, calls=200)
    assert read(ProgramsConformed(result)).text.startswith("Agreed")
    difference = Difference(4, calls, (3, 0), (3, -22), repeats=True)
    differs = ProgramsConformed(attrs.evolve(result, agreed=9, differences=(difference,)))
    seen = read(differs)
    assert seen.text.startswith("Differs")
    assert seen.rows[-1] == ["2", "0", "ftruncate(3, 4096)", "0", "-EINVAL"]
    skipped = ProgramsConformed(attrs.evolve(result, programs=0, agreed=0, skipped="this is no Linux"))
    assert read(skipped).text.startswith("Skipped")
    assert read(ProgramsConformed(attrs.evolve(result, programs=0, agreed=0))).text.startswith("Differs")


def test_an_execution_written_by_hand():
    assert "sealed_content_never_changes" in Reader(rich.replayed(TEST, RACED)).text
