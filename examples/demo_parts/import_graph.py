"""Which module imports which, directly and through others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ImportFacts:
    """What the import graph of some modules looks like.

    `popular` are the names most often imported, with the number of files that do. `heaviest` is
    the module whose import runs most others, `weight` their number. `in_cycles` modules import
    themselves through others; `cycle` is the largest set of them that all import each other.
    """

    popular: tuple[tuple[str, int], ...]
    heaviest: str
    weight: int
    in_cycles: int
    cycle: tuple[str, ...]


def import_facts(imports: Mapping[str, set[str]]) -> ImportFacts:
    """Look at the graph as a whole. `imports` tells for each module what it names."""
    modules = sorted(imports)
    place = {module: number for number, module in enumerate(modules)}
    graph = [sorted(place[other] for other in _run_by(module, imports)) for module in modules]
    reached = _reached(graph)
    weights = [(bits & ~(1 << number)).bit_count() for number, bits in enumerate(reached)]
    cycles: defaultdict[int, list[str]] = defaultdict(list)
    for number, bits in enumerate(reached):
        if bits >> number & 1:
            cycles[bits].append(modules[number])  # modules of one cycle reach the same
    weight = max(weights, default=0)
    cycle = max(cycles.values(), key=len, default=[])
    return ImportFacts(
        popular=tuple(_popularity(imports)[:5]),
        heaviest=modules[weights.index(weight)] if modules else "",
        weight=weight,
        in_cycles=sum(map(len, cycles.values())),
        cycle=tuple(cycle),
    )


def _run_by(module: str, imports: Mapping[str, set[str]]) -> set[str]:
    """Return the modules that run when this one does, for its own import statements.

    The import of `a.b` runs the package `a` too, but not where a module of `a` asks for it: then
    that is under way already.
    """
    run: set[str] = set()
    for name in imports[module]:
        while name:
            if name in imports and not f"{module}.".startswith(f"{name}."):
                run.add(name)
            name = name.rpartition(".")[0]
    return run


def _reached(graph: list[list[int]]) -> list[int]:
    """Return what can be reached from each node, over one edge or more, as bits of a number."""
    reached = [sum(1 << target for target in targets) for targets in graph]
    changed = True
    while changed:
        changed = False
        for number, targets in enumerate(graph):
            before = reached[number]
            for target in targets:
                reached[number] |= reached[target]
            changed = changed or reached[number] != before
    return reached


def _popularity(imports: Mapping[str, set[str]]) -> list[tuple[str, int]]:
    """Count by how many files each top-level name is imported; most first, then by name."""
    files = Counter(
        top for named in imports.values() for top in {name.partition(".")[0] for name in named}
    )
    del files[""]  # of a relative import that leads out of what was analysed
    return sorted(files.items(), key=lambda item: (-item[1], item[0]))
