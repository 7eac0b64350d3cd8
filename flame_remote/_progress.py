"""A bar that shows how many of some tasks have ended."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Final, TextIO, TypeVar, overload

from flame_remote._api import get
from flame_remote._given_refs import checked_refs, listed_refs, unproxied
from flame_remote._own_frames import seen_from_here
from flame_remote._refs import ObjectRef

T = TypeVar("T")
K = TypeVar("K")

_REDRAW_SECONDS: Final = 0.1
_NARROWEST: Final = 10  # characters of the bar itself


class Bar:
    """Counts, on one line of a terminal or of a notebook's cell; elsewhere one line at the end.

    Used as a context manager, which writes the last line. Safe to use from any thread.
    """

    def __init__(self, total: int | None, label: str = "", stream: TextIO | None = None) -> None:
        """Begin at 0 of `total`, None if that is unknown; on `stream`, by default stderr."""
        # Constant after construction.
        self._stream = sys.stderr if stream is None else stream
        self._moves = _can_go_back(self._stream)
        self._total = total
        self._label = f"{label}: " if label else ""
        self._started = time.perf_counter()
        # Guarded by self._lock.
        self._lock = threading.Lock()
        self._done = 0
        self._drawn = 0  # characters on the line
        self._next_drawing = self._started
        self._is_closed = False

    def advance(self, number: int = 1) -> None:
        """Count `number` more."""
        with self._lock:
            if self._is_closed:
                return
            self._done += number
            now = time.perf_counter()
            if self._moves and now >= self._next_drawing:
                self._next_drawing = now + _REDRAW_SECONDS
                self._write(self._text(now - self._started))

    def __enter__(self) -> Bar:
        self._write_first()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(is_complete=error is None)

    def close(self, *, is_complete: bool) -> None:
        """Write the last line. `is_complete` says that all have ended, also those not counted."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            if is_complete and self._total is not None:
                self._done = self._total
            seconds = time.perf_counter() - self._started
            of = "" if self._total is None else f" of {self._total}"
            self._write(f"{self._label}{self._done}{of} done in {_time(seconds)}", "\n")

    def _write_first(self) -> None:
        with self._lock:
            if self._moves and not self._is_closed:
                self._write(self._text(0.0))

    def _text(self, seconds: float) -> str:
        """Return the line as it stands now."""
        rate = self._done / seconds if seconds > 0 else 0.0
        if self._total is None:
            return f"{self._label}{self._done} done, {_time(seconds)}, {_rate(rate)}"
        left = _time((self._total - self._done) / rate) if rate else "?"
        share = self._done / self._total if self._total else 1.0
        before = f"{self._label}{share:4.0%} "
        after = f" {self._done}/{self._total}, {_time(seconds)}, {left} left, {_rate(rate)}"
        width = max(_NARROWEST, shutil.get_terminal_size().columns - len(before + after) - 3)
        filled = int(share * width)
        return f"{before}[{'#' * filled}{'.' * (width - filled)}]{after}"

    def _write(self, text: str, end: str = "") -> None:
        """Replace the line. The caller holds self._lock."""
        if self._moves:
            cover = " " * (self._drawn - len(text))
            self._drawn = len(text)
            text = f"\r{text}{cover}"
        try:
            self._stream.write(text + end)
            self._stream.flush()
        except (OSError, ValueError):  # closed, or nobody reads it: no reason to end the work
            self._moves = False


def _can_go_back(stream: TextIO) -> bool:
    """Say whether a carriage return overwrites the line: on a terminal and in a notebook."""
    try:
        return stream.isatty() or type(stream).__module__.startswith("ipykernel")
    except (AttributeError, ValueError):
        return False


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes}:{seconds:02d} min" if minutes < 60 else f"{minutes / 60:.1f} h"


def _rate(per_second: float) -> str:
    return f"{per_second:.3g}/s" if per_second < 1000 else f"{per_second:,.0f}/s"


@overload
def progress(refs: ObjectRef[T], *, label: str = "", timeout: float | None = None) -> T: ...
@overload
def progress(  # type: ignore[overload-overlap]
    refs: Mapping[K, ObjectRef[T]], *, label: str = "", timeout: float | None = None
) -> dict[K, T]: ...
@overload
def progress(
    refs: Iterable[ObjectRef[T]], *, label: str = "", timeout: float | None = None
) -> list[T]: ...


def progress(refs: Any, *, label: str = "", timeout: float | None = None) -> Any:
    """Wait for results as `get` does, and show on stderr how many are there.

    On a terminal and in a notebook that is a bar; elsewhere one line at the end.

    Args:
        refs: one ref; or a tuple, a dict with refs as values, or any other iterable of refs.
        label: what to write before the bar.
        timeout: seconds to wait at most; None waits as long as it takes.

    Returns:
        The value of one ref; a tuple for a tuple, a dict for a dict, else a list.

    Raises:
        GetTimeoutError: the time is over; says which results are missing. The tasks go on.
        TaskError: a task raised; also an instance of the exception's own type.
        RefMisuseError: something among `refs` is no ref.
    """
    try:
        if type(unproxied(refs)) is ObjectRef:
            waited = [refs]
        elif isinstance(refs, Mapping):
            waited = list(refs.values())
        else:
            waited = listed_refs(refs, "progress")
            refs = tuple(waited) if isinstance(refs, tuple) else waited
        waited = checked_refs(waited, "progress")
        with Bar(len(waited), label) as bar:
            for ref in waited:
                ref.add_done_callback(lambda _: bar.advance())
            return get(refs, timeout=timeout)
    except BaseException as error:
        raise seen_from_here(error)  # noqa: B904  the same error
