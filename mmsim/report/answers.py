"""What `mmsim.api` answers with: each prints as the command line would, and displays itself in a notebook.

A verdict (`mmsim.report.judged.Judged`) and a comparison (`mmsim.report.comparison.Comparison`) do the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mmsim.report import plots, rich, timeline_plot

if TYPE_CHECKING:
    from mmsim.check import Test
    from mmsim.conformance.run import ConformanceResult
    from mmsim.conformance.sequential.run import ProgramsResult
    from mmsim.report.judged import Judged
    from mmsim.timed.result import Result
    from mmsim.timed.workloads import Measurement
    from mmsim.trace import Execution


@attrs.frozen(repr=False)
class Explanation:
    """A verdict with its reasons."""

    judged: Judged

    def __str__(self) -> str:
        from mmsim.report import explanation, json_, text

        test, result = self.judged.test, json_.result(self.judged)
        return explanation.text(test.scenario, test.strategy, test.release, text.verdict(self.judged), result)

    def __repr__(self) -> str:
        return repr(self.judged)

    def _repr_html_(self) -> str:
        from mmsim.report import json_

        return rich.explained(self.judged, json_.result(self.judged), self.judged.test.strategy)


@attrs.frozen(repr=False)
class Replayed:
    """One schedule as it was carried out."""

    test: Test
    execution: Execution

    def picture(self) -> plots.Picture:
        """Threads, mappings, seals, contents and counts over the steps.  Raises UserError without matplotlib."""
        return timeline_plot.of_execution(self.execution, f"{self.test.name} under {self.test.strategy.name}")

    def __str__(self) -> str:
        from mmsim.report import text

        return text.execution(self.test.scenario, self.execution)

    def __repr__(self) -> str:
        broke = "breaks nothing" if self.execution.violation is None else f"breaks {self.execution.violation[0]}"
        return f"<{self.test.name} under {self.test.strategy.name}, {len(self.execution.steps)} steps: {broke}>"

    def _repr_html_(self) -> str:
        return rich.replayed(self.test, self.execution)


@attrs.frozen(repr=False)
class Simulated:
    """One run of a scenario on a simulated clock."""

    test: Test
    result: Result

    def picture(self) -> plots.Picture:
        """Threads, mappings, seals, contents and counts over simulated time.  Raises UserError without matplotlib."""
        return timeline_plot.of_result(self.result, f"{self.test.name} under {self.test.strategy.name}")

    def __str__(self) -> str:
        from mmsim.report.timeline import timeline_text

        return timeline_text(self.result).rstrip("\n")

    def __repr__(self) -> str:
        name, ended = self.test.name, self.result.ended.name.lower()
        return f"<{name} under {self.test.strategy.name}, {self.result.end_ns / 1000:.3f} µs: {ended}>"

    def _repr_html_(self) -> str:
        return rich.simulated(self.test, self.result)


@attrs.frozen(repr=False)
class Costs:
    """What a workload costs under each design on each number of CPUs."""

    measurements: tuple[Measurement, ...]
    baseline: str | None = None
    """The name of the design that the others are compared with."""

    def plot(self) -> plots.Picture:
        """Throughput, latency, line moves and pages held.  Raises UserError without matplotlib."""
        return plots.page(self.measurements)

    def csv(self) -> str:
        """One row for each run, one column for each figure."""
        from mmsim.report import costs

        return costs.as_csv(self.measurements)

    def __str__(self) -> str:
        from mmsim.report import costs

        return costs.text(self.measurements, self.baseline)

    def __repr__(self) -> str:
        name = self.measurements[0].workload if self.measurements else "nothing"
        return f"<{name}, {len(self.measurements)} runs>"

    def _repr_html_(self) -> str:
        return rich.costed(self.measurements, self.baseline)


@attrs.frozen(repr=False)
class Conformed:
    """What the running kernel did with a scenario, judged by the model."""

    test: Test
    result: ConformanceResult
    complete: bool
    """Whether every outcome of the model is known."""

    def __str__(self) -> str:
        from mmsim.report import conformance

        return conformance.text(self.test, self.result, complete=self.complete)

    def __repr__(self) -> str:
        from mmsim.report import conformance

        told = self.result.skipped or conformance.sentence(self.result, complete=self.complete)
        return f"<{self.test.name} on Linux {self.result.release}, {self.result.runs:,} runs: {told}>"

    def _repr_html_(self) -> str:
        return rich.conformed(self.test, self.result, complete=self.complete)


@attrs.frozen(repr=False)
class ProgramsConformed:
    """What random programs showed of the running kernel and of the model."""

    result: ProgramsResult

    def __str__(self) -> str:
        from mmsim.report import programs

        return programs.text(self.result)

    def __repr__(self) -> str:
        return f"<{self.result.agreed:,} of {self.result.programs:,} programs agreed on Linux {self.result.linux}>"

    def _repr_html_(self) -> str:
        return rich.programs_conformed(self.result)
