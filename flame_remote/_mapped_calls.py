"""Calls of a function by `map` and its like: what RemoteFunction hands many items to."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

from flame_remote._execute.chunk import Chunk
from flame_remote._map import MapResults
from flame_remote._options import TaskOptions
from flame_remote._registry import service_of
from flame_remote._session import ensure_engine
from flame_remote.runner.source import Source, by_name

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from flame_remote._progress import Bar


class MapTerms(TypedDict):
    """How results are handed out; see MapResults."""

    ordered: bool
    window: int | None
    return_exceptions: bool
    timeout: float | None


class MappedCalls:
    """The calls of one function for many items. Constant after construction; any thread."""

    def __init__(self, source: Source, options: TaskOptions, is_stream: bool) -> None:
        self._source = source
        # One result for each item.
        self._options = options if options.num_returns == 1 else replace(options, num_returns=1)
        self._is_stream = is_stream  # its items come one by one
        chunk = Chunk(source.value, source.name, by_name(source.value))
        self._chunk = Source(chunk, source.name, None)  # calls the function often, in one task

    def over(
        self, iterables: tuple[Iterable[Any], ...], progress: bool, **terms: Unpack[MapTerms]
    ) -> MapResults[Any]:
        """Call the function with an item of each of the iterables at a time.

        Args:
            iterables: one for each positional argument; the shortest one ends the iteration.
            progress: whether to show a bar.
            terms: how results are handed out.

        Raises:
            TypeError: there is nothing to iterate over, or the function is a generator function.
        """
        if not iterables:
            verb = "map" if terms["ordered"] else "map_unordered"
            raise TypeError(f"{self._source.name}.{verb}() takes one or more iterables")
        star = len(iterables) > 1
        rows = zip(*iterables) if star else next(iter(iterables))  # noqa: B905  the shortest ends it
        bar = self._bar_over(iterables) if progress else None
        return self._results(rows, star=star, bar=bar, **terms)

    def over_rows(
        self, rows: Iterable[Iterable[Any]], progress: bool, **terms: Unpack[MapTerms]
    ) -> MapResults[Any]:
        """As `over`, of tuples that hold the positional arguments of a call each."""
        bar = self._bar_over((rows,)) if progress else None
        return self._results(map(tuple, rows), star=True, bar=bar, **terms)

    def _results(
        self, rows: Iterable[Any], star: bool, bar: Bar | None, **terms: Unpack[MapTerms]
    ) -> MapResults[Any]:
        window = terms["window"]
        if window is not None and (isinstance(window, bool) or not isinstance(window, int)):
            raise TypeError(f"window must be a whole number, not {type(window).__name__}")
        if window is not None and window < 1:
            raise ValueError(f"window must be 1 or more items, not {window}")
        if self._is_stream:
            raise TypeError(f"{self._source.name} is a generator function, which map() cannot call")
        engine = ensure_engine()
        return MapResults(
            service_of(engine, self._chunk, self._options),
            service_of(engine, self._source, self._options),
            rows,
            star=star,
            bar=bar,
            **terms,
        )

    def _bar_over(self, iterables: Iterable[Any]) -> Bar:
        """Make a bar as long as the shortest of those that have a length."""
        from flame_remote._progress import Bar

        lengths = [len(each) for each in iterables if isinstance(each, Sized)]
        return Bar(min(lengths, default=None), self._source.name)
