"""Something happens at a chosen line of the package's code: for trying out every line in turn."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import flame_remote

_PACKAGE: Final = str(Path(flame_remote.__file__).parent)
# Lines at which Python does not look for signals: those of a `try:`.
_NO_SIGNALS: Final = {"NOP", "SETUP_FINALLY"}


class AtLine:
    """Calls `happen` as the calling thread comes to the n-th different line of the package."""

    def __init__(self, n: int, happen: Callable[[], object]) -> None:
        self._lines_left = n
        self._happen = happen
        self._seen: set[tuple[CodeType, int]] = set()
        self.where = ""  # it happened

    def run(self, function: Callable[[], object]) -> None:
        """Call `function` under observation."""
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            function()
        finally:
            sys.settrace(before)

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        code, line = frame.f_code, frame.f_lineno
        if not code.co_filename.startswith(_PACKAGE):
            return None
        if event == "line" and (code, line) not in self._seen:
            self._seen.add((code, line))
            self._lines_left -= dis.opname[code.co_code[frame.f_lasti]] not in _NO_SIGNALS
            if not self._lines_left and not self.where:
                self.where = f"{code.co_filename}:{line}"
                self._happen()
        return self._trace
