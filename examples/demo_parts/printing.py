"""How the results are told."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping

from .analysis import Function, Report
from .import_graph import ImportFacts
from .runs import Comparison, Results
from .sources import Sources
from .zipf import Law

MOST_NAMED = 20  # of the files that could not be analysed


def say(label: str, text: str) -> None:
    """Print a paragraph under a label on its left; without one, what belongs to the one above."""
    for line in text.splitlines():
        print(f"{label:<11}{line}", flush=True)
        label = ""


def tell_sources(sources: Sources) -> None:
    """Print what is going to be analysed."""
    files = f"{len(sources.files):,} files, {sources.size / 1e6:.1f} MB"
    print(f"Analysing {sources.title}: {files}\n", flush=True)


def tell_results(results: Results, sources: Sources) -> None:
    """Print what was found out."""
    total = results.total
    if total.names:
        say("names", _names(total))
        say("", _law(total, results.law))
    if total.functions:
        say("functions", _functions(total.functions))
    if total.lines:
        share = total.comment_lines / total.lines
        say("comments", f"{total.comment_lines:,} in {total.lines:,} lines, {share:.0%}")
    if total.imports:
        say("imports", _imports(results.imports))
    failures = {**sources.unreadable, **total.failures}
    if failures:
        say("left out", "\n".join(_failures(failures)))
    print(flush=True)


def tell_comparison(comparison: Comparison) -> None:
    """Print whether both runs agree."""
    if not comparison.differing:
        say("checked", f"{comparison.compared} results, all equal to those of a serial run")
        return
    wrong = f"{len(comparison.differing)} of {comparison.compared} results differ from a serial run"
    say("WRONG", "\n".join([f"{wrong}:", *comparison.differing[:MOST_NAMED]]))


def tell_times(by_tasks: Results, serial: Results, where: str) -> None:
    """Print how long both runs took."""
    ratio = serial.seconds / by_tasks.seconds
    taken = f"{by_tasks.seconds:.2f} s {where}, serially {serial.seconds:.2f} s"
    say("time", f"{taken}: {ratio:.2f} times as fast")


def _names(total: Report) -> str:
    top = ", ".join(f"{name} {uses:,}" for name, uses in total.names.most_common(5))
    return f"{len(total.names):,} different, used {total.names.total():,} times\nmost used: {top}"


def _law(total: Report, law: Law) -> str:
    rank = min(100, len(total.names))
    expected = law.expected(rank, len(total.names), total.names.total())
    name, uses = total.names.most_common(rank)[-1]
    shifted = f"r {'-' if law.shift < 0 else '+'} {abs(law.shift):.2f}"
    return (
        f"rank r is used in proportion to 1/({shifted})^{law.power:.3f} (Zipf's law):\n"
        f"rank {rank} should be used {expected:,.0f} times; it is {name}, used {uses:,} times"
    )


def _functions(functions: list[Function]) -> str:
    median = statistics.median(function.lines for function in functions)
    lines = [f"{len(functions):,}; half of them take at most {median:g} lines; the longest:"]
    for function in sorted(functions, reverse=True)[:3]:
        lines.append(f"{function.lines:>6,} lines  {function.name}  {function.place}")
    return "\n".join(lines)


def _imports(facts: ImportFacts) -> str:
    popular = ", ".join(f"{name} {files:,}" for name, files in facts.popular)
    lines = [f"by most files: {popular or 'none'}"]
    if facts.weight:
        lines.append(f"importing {facts.heaviest} runs {facts.weight:,} others of these modules")
    if facts.cycle:
        shown = ", ".join(facts.cycle[:4]) + (", ..." if len(facts.cycle) > 4 else "")
        cycle = f"the largest cycle has {len(facts.cycle):,}: {shown}"
        lines.append(f"{facts.in_cycles:,} modules are part of import cycles; {cycle}")
    return "\n".join(lines)


def _failures(failures: Mapping[str, str]) -> Iterator[str]:
    yield f"{len(failures):,} that cannot be read as Python:"
    for path, reason in sorted(failures.items())[:MOST_NAMED]:
        yield f"  {path}: {reason}"
    if len(failures) > MOST_NAMED:
        yield f"  and {len(failures) - MOST_NAMED:,} more"
