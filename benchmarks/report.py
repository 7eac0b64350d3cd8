"""The results as text: a table per workload, ratios beside the figures, targets below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.result import STATUS_WORDS, Result
from benchmarks.targets import SUBJECT, TARGETS, Verdict, judge
from benchmarks.workload import Metric
from benchmarks.workloads import EVERY_WORKLOAD

LEGEND = (
    "[n x]: in this run {reference} is n times as good as that system; below 1 it loses.\n"
    "-: the system has no such feature."
)


def reference_of(results: Sequence[Result]) -> str | None:
    """Return whom the others are compared with: flame_remote, else the first with figures."""
    good = [result.system for result in results if result.metrics is not None]
    return SUBJECT if SUBJECT in good else next(iter(good), None)


def workload_table(results: Sequence[Result]) -> str:
    """Return the table of one workload's results, one row per metric."""
    workload = EVERY_WORKLOAD[results[0].workload]
    awake = sorted({result.awake for result in results if result.metrics and workload.awake})
    note = f" (cores kept awake by {', '.join(awake)})" if awake else ""
    rows = [["", *(result.system for result in results)]]
    if reference := reference_of(results):
        reference_metrics = next(one.metrics for one in results if one.system == reference)
        assert reference_metrics is not None
        for name, metric in workload.metrics.items():
            cells = (cell(result, name, metric, reference_metrics[name]) for result in results)
            rows.append([name, *cells])
    else:
        rows.append(["", *(STATUS_WORDS[result.status] for result in results)])
    verdicts = [judge(target, results) for target in TARGETS if target.workload == workload.name]
    lines = [f"{workload.name}: {workload.summary}{note}", *aligned(rows)]
    return "\n".join([*lines, *(f"  {verdict_line(verdict)}" for verdict in verdicts), ""])


def cell(result: Result, name: str, metric: Metric, reference: float) -> str:
    if result.metrics is None:
        return STATUS_WORDS[result.status]
    value = result.metrics[name]
    if min(value, reference) <= 0:  # a difference that came out below zero has no ratio
        return number(value)
    times = reference / value if metric.better == "higher" else value / reference
    return f"{number(value)} [{number(times)} x]"


def number(value: float) -> str:
    """Return three significant digits, or all digits before the point."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = (text.rjust(width) for text, width in zip(row, widths, strict=True))
        yield "  " + "  ".join([first.strip().ljust(widths[0]), *others])


def verdict_line(verdict: Verdict) -> str:
    target = verdict.target
    sign = ">=" if target.more_is_better else "<="
    what = target.metric
    if target.against:
        best = "best of " if len(target.against) > 1 else ""
        what += f" / {best}{' and '.join(target.against)}"
    value = "not measured" if verdict.value is None else number(verdict.value)
    bounds = [
        f"{word} {sign} {number(bound)}{met_word(met)}"
        for word, bound, met in (
            ("must", target.must, verdict.must_met),
            ("aim", target.aim, verdict.aim_met),
        )
        if bound is not None
    ]
    return f"target {what}: {value}; {', '.join(bounds)}"


def met_word(met: bool | None) -> str:
    return {None: "", True: " met", False: " MISSED"}[met]
