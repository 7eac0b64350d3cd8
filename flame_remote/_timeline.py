"""When which call ran where, in the format of Chrome's trace viewer and of Perfetto.

The file is one JSON object with the list "traceEvents"; times are microseconds. Bounded: of a long
session the last calls are kept.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

# About 300 bytes each in memory.
_MOST_SPANS: Final = 100_000


class Span(NamedTuple):
    """One call, from the first line of its code to the last; seconds of the monotonic clock."""

    name: str
    pid: int
    thread: int
    began: float
    ended: float
    about: Mapping[str, Any]  # what the viewer shows beside it


class Timeline:
    """The calls of a session that have run. Any thread adds; a deque's methods are atomic."""

    def __init__(self) -> None:
        self._spans: deque[Span] = deque(maxlen=_MOST_SPANS)
        self._added = 0

    def add(self, span: Span) -> None:
        """Note a call that has ended."""
        self._spans.append(span)
        self._added += 1

    def write(self, path: str | os.PathLike[str]) -> int:
        """Write the file; return how many calls are in it. Raises OSError."""
        spans = list(self._spans)
        begin = min((span.began for span in spans), default=0.0)
        events: list[dict[str, Any]] = [
            {
                "name": span.name,
                "cat": "call",
                "ph": "X",
                "ts": round((span.began - begin) * 1e6, 1),
                "dur": round((span.ended - span.began) * 1e6, 1),
                "pid": span.pid,
                "tid": span.thread,
                "args": dict(span.about),
            }
            for span in spans
        ]
        for pid in sorted({span.pid for span in spans}):
            name = "main program" if pid == os.getpid() else f"worker pid {pid}"
            about = {"name": name}
            events.append({"name": "process_name", "ph": "M", "pid": pid, "args": about})
        dropped = {"calls_left_out": self._added - len(spans)}
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"traceEvents": events, "displayTimeUnit": "ms", "otherData": dropped}, file)
        return len(spans)
