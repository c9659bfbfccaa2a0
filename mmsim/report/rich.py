"""Answers as fragments of HTML, for notebooks: verdicts, comparisons, timed runs, costs, the running kernel."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final
from xml.etree.ElementTree import Element

from mmsim.report import comparison, conformance, costs, explanation, programs, table, text
from mmsim.report import plots as pictures
from mmsim.report.argument import argument
from mmsim.report.design import remarks
from mmsim.report.diagram import diagram
from mmsim.report.html import FADED, Node, badge, code, element, faded, folded, grid, paragraph, pre, rendered
from mmsim.report.judged import broken, detail
from mmsim.report.timeline import timeline_text
from mmsim.report.values import show
from mmsim.scenario import LINUX_CARRIES, QUESTIONS
from mmsim.timed.result import Ended, Running
from mmsim.verdict import WAITING, Undecided, Violated, Waiting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmsim.check import Test
    from mmsim.conformance.run import ConformanceResult
    from mmsim.conformance.sequential.run import ProgramsResult
    from mmsim.kernel.strategy import Strategy
    from mmsim.report.judged import Judged
    from mmsim.scenario import Scenario
    from mmsim.timed.result import Result
    from mmsim.timed.workloads import Measurement
    from mmsim.trace import Execution
    from mmsim.verdict import Outcome

KINDS: Final = {"Holds": "good", "Violated": "expected", "Undecided": "open"}
FEW: Final = 12
"""How many outcomes are shown without asking."""
WORDS_FOR: Final = 8
"""Up to so many designs a matrix has words in its cells, and marks where there are more."""


# ---- verdicts


def verdict(judged: Judged) -> str:
    """The verdict, the counterexample and its argument, and every outcome."""
    return rendered(*verdict_nodes(judged))


def verdict_nodes(judged: Judged) -> list[Node]:
    """The parts of a verdict."""
    test, answer = judged.test, judged.verdict
    fits = judged.fits or isinstance(answer, Undecided)
    kind = KINDS[judged.word] if fits else "bad"
    reason = f": {answer.reason}" if isinstance(answer, Undecided) else ""
    title = f"  {test.name} under {test.strategy.name} on {test.release.name}{text.expectation(judged)}{reason}"
    nodes: list[Node] = [element("p", badge(judged.word, kind), title, style="margin:6px 0")]
    nodes += [element("p", badge("Never seen", "bad"), f"  {name}") for name in judged.judgement.unwitnessed]
    if isinstance(answer, Violated):
        if judged.execution is not None:
            nodes.append(pre(diagram(judged.execution), f"<- {answer.violation.property}"))
        nodes += paragraph(text.sentence(answer.violation, judged.detail))
        nodes += paragraph("" if judged.execution is None else argument(judged.execution))
        nodes.append(folded("to see it again", code(judged.replay)))
    nodes += outcomes(test.scenario, answer.outcomes)
    nodes.append(faded(f"{answer.coverage.how}: {text.size(judged)}"))
    return nodes


def outcomes(scenario: Scenario, all_of_them: Sequence[Outcome]) -> list[Element]:
    """What the threads can return, a row for each class of outcomes."""
    if not all_of_them:
        return []
    threads = [name for name, _ in all_of_them[0]]
    told = sorted(([_value(dict(one)[name]) for name in threads], broken(scenario, one)) for one in all_of_them)
    rows = [[*values, ", ".join(breaks)] for values, breaks in told]
    any_broken = any(breaks for _, breaks in told)
    kinds = {(row, len(threads)): "expected" for row, (_, breaks) in enumerate(told) if breaks}
    shown = grid(
        [*threads, *(["breaks"] if any_broken else [])], rows if any_broken else [row[:-1] for row in rows], kinds
    )
    number = text.counted(len(rows), "outcome")
    return [faded(f"{number}:"), shown] if len(rows) <= FEW else [folded(number, shown)]


def _value(value: Any) -> str:
    return str(value.value) if isinstance(value, Waiting | Running) else show(value)


def replayed(test: Test, execution: Execution) -> str:
    """A schedule that was carried out."""
    broke = execution.violation
    title = f"  {test.name} under {test.strategy.name} on {test.release.name}, one schedule"
    word = badge("breaks a property", "expected") if broke else badge("breaks nothing", "good")
    nodes: list[Node] = [element("p", word, title, style="margin:6px 0")]
    nodes.append(pre(diagram(execution), "" if broke is None else f"<- {broke[0]}"))
    if broke is not None:
        nodes += paragraph(f"{broke[0]}: {detail(test.scenario, *broke, execution.outcomes).rstrip('.')}.")
        nodes += paragraph(argument(execution))
    ended = [[name, "-" if value is WAITING else show(value)] for name, value in execution.outcomes]
    nodes.append(grid(["thread", "returned"], ended))
    return rendered(*nodes)


# ---- comparisons


def compared(told: comparison.Comparison) -> str:
    """Surprises, the matrix, the designs, and what their columns leave out."""
    names = told.names
    nodes: list[Node] = []
    if surprising := table.surprises(told.entries, width=comparison.ONE_LINE):
        rows = [[line] for line in surprising.splitlines()]
        nodes.append(grid(["not as expected"], rows, dict.fromkeys(((row, 0) for row in range(len(rows))), "bad")))
    nodes.append(_matrix(comparison.chapters(told), names))
    if past := comparison.history(told):
        nodes.append(
            grid(
                [f"on the releases that a bug of the past is about, {LINUX_CARRIES}"],
                [[": ".join(one)] for one in past],
            )
        )
    nodes.append(element("p", "The designs", style="margin:8px 0 2px"))
    kinds = {(row, 1): "bad" for row, one in enumerate(told.designs) if one.unexpected}
    nodes.append(
        grid([_titled(*pair) for pair in zip(*comparison.GROUPS, strict=True)], comparison.design_rows(told), kinds)
    )
    notes = [
        element("li", element("b", one.name), f": {'; '.join(remarks(one))}.") for one in told.designs if remarks(one)
    ]
    nodes += [element("ul", *notes, style="margin:6px 0")] if notes else []
    legend = [*comparison.LEGEND, *comparison.MARKS]
    nodes.append(folded("what the words and marks mean", grid(["", ""], [list(one) for one in legend])))
    return rendered(*nodes)


def _titled(group: str, name: str) -> Element:
    return element("span", element("span", group, style=FADED), element("br"), name)


def _matrix(by_chapter: Mapping[str, Sequence[Mapping[str, Any]]], names: Sequence[str]) -> Element:
    """Scenarios x designs; each chapter begins with its question."""
    in_words = len(names) <= WORDS_FOR
    rows: list[list[Node]] = []
    kinds = {}
    for chapter, results in by_chapter.items():
        rows.append([element("i", QUESTIONS.get(chapter, "Other scenarios"))])
        cells = {(one["test"]["scenario"], one["test"]["strategy"]): one for one in results}
        for scenario in dict.fromkeys(one["test"]["scenario"] for one in results):
            rows.append([scenario])
            for column, name in enumerate(names, 1):
                one = cells.get((scenario, name))
                rows[-1].append("" if one is None else _cell(one) if in_words else comparison.mark(one))
                if one is not None:
                    fits = comparison.entry(one).fits and not one["unwitnessed"]
                    kind = KINDS[one["verdict"]] if fits or one["verdict"] == "Undecided" else "bad"
                    kinds[len(rows) - 1, column] = kind
    head = names if in_words else [str(number) for number in range(1, len(names) + 1)]
    return grid(["", *head], rows, kinds)


def _cell(result: Mapping[str, Any]) -> str:
    said = {"w": ", somebody waits", "n": ", refuses needlessly", "b": ", somebody waits, refuses needlessly"}
    return comparison.entry(result).text + said.get(comparison.mark(result), "")


def explained(judged: Judged, result: Mapping[str, Any], strategy: Strategy) -> str:
    """A verdict with its reasons: what `mmsim explain` says."""
    nodes = verdict_nodes(judged)
    for title, lines in explanation.sections(judged.test.scenario, strategy, judged.test.release, result):
        if lines:
            nodes.append(element("p", element("b", title), style="margin:8px 0 2px"))
            items = (element("li", " ".join(line.split())) for line in lines)
            nodes.append(element("ul", *items, style="margin:2px 0 6px"))
    return rendered(*nodes)


# ---- time


def simulated(test: Test, result: Result) -> str:
    """A timed run: how it ended, what each thread returned and how long its calls took, who waited for which lock."""
    fine = result.ended is Ended.FINISHED and result.violation is None
    title = f"  {test.name} under {test.strategy.name} on {test.release.name}: {result.end_ns / 1000:.3f} µs, "
    counted = f"{text.counted(result.steps, 'step')}, {text.counted(result.cpus, 'CPU')}, seed {result.seed}"
    nodes: list[Node] = [
        element(
            "p", badge(result.ended.name.lower(), "good" if fine else "expected"), title, counted, style="margin:6px 0"
        )
    ]
    if result.violation is not None:
        nodes += paragraph(": ".join(result.violation))
    nodes += [element("p", str(one), style="margin:6px 0") for one in result.blocked]
    calls = [
        [
            one.thread,
            f"{one.name}()",
            f"{one.start_ns / 1000:.3f}",
            "-" if one.duration_ns is None else f"{one.duration_ns / 1000:.3f}",
        ]
        for one in result.system_calls
    ]
    nodes.append(grid(["thread", "call", "from µs", "takes µs"], calls))
    nodes.append(grid(["thread", "returned"], [[name, _value(value)] for name, value in result.outcomes]))
    if waited := [one for one in result.locks if one.waits]:
        rows = [[one.lock_class, str(one.acquired), str(one.waits), f"{one.wait_ns:.0f}"] for one in waited]
        nodes.append(grid(["lock", "taken", "waits", "ns waited"], rows))
    nodes.append(folded("step by step", pre(timeline_text(result))))
    return rendered(*nodes)


def costed(measurements: Sequence[Measurement], baseline: str | None) -> str:
    """Measurements: the table, ratios to the baseline, the lines that move most, curves where they can be drawn."""
    if not measurements:
        return rendered(*paragraph("nothing was measured"))
    rows = costs.figure_rows(measurements)
    against = [] if baseline is None else costs.ratio_rows(measurements, baseline)
    nodes: list[Node] = [*paragraph(costs.title(measurements)), _in_short(rows, against, measurements[0].operation)]
    nodes.append(folded("every figure", _turned(rows)))
    if baseline is not None and against:
        nodes.append(folded("every ratio", *paragraph(costs.ratio_title(baseline)), _turned(against)))
    if lines := costs.hot_lines(measurements):
        nodes += [*paragraph("Cache lines that move most, per operation:"), grid(list(lines[0]), lines[1:])]
    nodes += [element("p", badge("note", "bad"), f"  {said}") for said in costs.warnings(measurements)]
    if len({one.cpus for one in measurements}) == 1:
        return rendered(*nodes)  # a curve of one point says nothing that the table does not
    if pictures.there():
        drawn = base64.b64encode(pictures.page(measurements).png()).decode()
        image = element(
            "img", src=f"data:image/png;base64,{drawn}", alt=costs.title(measurements), style="max-width:100%"
        )
        nodes.append(image)
    else:
        nodes.append(faded("With matplotlib (pip install 'mmsim[report]') there are curves here."))
    return rendered(*nodes)


def _in_short(rows: Sequence[Sequence[str]], against: Sequence[Sequence[str]], operation: str) -> Element:
    """A row for each point: the figures that say most, and the ratio of throughputs."""
    head, *points = rows
    throughput = costs.SHOWN[0]
    ratio = {(row[0], row[1]): row[against[0].index(throughput)] for row in against[1:]}
    wanted = [throughput, f"{operation} p50 ns", f"{operation} p99 ns", "refused /op", "line moves /op"]
    kept = [head.index(name) for name in wanted if name in head and any(row[head.index(name)] != "0" for row in points)]
    cells = [[row[0], row[1], *(row[at] for at in kept)] for row in rows]
    if ratio:
        for row, made in zip(rows, cells, strict=True):
            made.insert(3, ratio.get((row[0], row[1]), "") if row is not head else "its ratio")
    return grid(list(cells[0]), cells[1:])


def _turned(rows: Sequence[Sequence[str]]) -> Element:
    """Figures down, designs across."""
    head, *body = zip(*rows, strict=True)
    return grid(list(head), [list(row) for row in body])


# ---- the running kernel


def conformed(test: Test, result: ConformanceResult, *, complete: bool) -> str:
    """What Linux did, each outcome judged by the model."""
    title = f"  {test.name} on Linux {result.release}, {text.counted(result.runs, 'run')}"
    if result.skipped:
        return rendered(element("p", badge("Skipped", "open"), title), *paragraph(f"Skipped: {result.skipped}."))
    word, _, said = conformance.sentence(result, complete=complete).partition(": ")
    kind = {"Ok": "good", "No": "bad"}.get(word, "open")
    nodes: list[Node] = [element("p", badge(word, kind), title, style="margin:6px 0")]
    rows = conformance.rows(result, complete=complete)
    threads = [name for name, _ in rows[0][1]] if rows else []
    cells = [[f"{count:,}", *(_value(dict(outcome)[name]) for name in threads), said] for count, outcome, said in rows]
    kinds = {
        (row, len(threads) + 1): {"allowed": "good", "not in the model": "bad"}.get(said, "")
        for row, (_, _, said) in enumerate(rows)
    }
    nodes.append(grid(["runs", *threads, "the model says"], cells, kinds))
    nodes += [element("p", badge("Stuck", "bad"), f"  {sentence}") for sentence in result.stuck]
    nodes += paragraph(f"{said[:1].upper()}{said[1:]}.")
    return rendered(*nodes)


def programs_conformed(result: ProgramsResult) -> str:
    """What random programs showed: how many agreed, and each difference call by call."""
    agreed = result.agreed == result.programs and result.programs > 0
    word, kind = ("Skipped", "open") if result.skipped else ("Agreed", "good") if agreed else ("Differs", "bad")
    title = f"  {result.agreed:,} of {result.programs:,} programs, {result.calls:,} calls: Linux {result.linux} and "
    model = f"{result.strategy} on {result.release}, seed {result.seed}"
    nodes: list[Node] = [element("p", badge(word, kind), title, model, style="margin:6px 0")]
    nodes += paragraph(f"Skipped: {result.skipped}." if result.skipped else "")
    for difference in result.differences:
        answers = zip(difference.program, difference.linux, difference.model, strict=True)
        rows = [
            [str(number), str(call.process), programs.written(call), programs.answer(linux), programs.answer(model)]
            for number, (call, linux, model) in enumerate(answers, 1)
        ]
        kinds = {(row, column): "bad" for row, cells in enumerate(rows) for column in (3, 4) if cells[3] != cells[4]}
        nodes.append(
            element("p", f"Program {difference.number}, made as small as it can be:", style="margin:8px 0 2px")
        )
        nodes.append(grid(["", "process", "call", "Linux", "the model"], rows, kinds))
    if result.not_asked:
        items = (element("li", sentence) for sentence in result.not_asked)
        nodes.append(folded("what programs do not ask", element("ul", *items)))
    return rendered(*nodes)
