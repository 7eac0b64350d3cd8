"""The frames of a traceback as plain data, and a traceback from such data.

A traceback cannot leave its process. Its frames are written down as file, function and position;
where the error arrives, a traceback of stand-in frames is built that prints, and steps through in
a debugger, as the original would. Unlike tblib's, the stand-ins keep their columns, so the carets
under a source line point at the right place.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from types import CodeType, FrameType, TracebackType
from typing import Any, Final, NamedTuple

# A traceback longer than this keeps its two ends: enough to see both the way in and the culprit.
_END_FRAMES: Final = 50

_PACKAGE: Final = __file__.rpartition("_execute")[0]
_ASYNCIO: Final = "/asyncio/"


class Frame(NamedTuple):
    """One line of a traceback. Columns count UTF-8 bytes; None where Python does not know them."""

    file: str
    function: str
    line: int
    end_line: int | None = None
    column: int | None = None
    end_column: int | None = None


def take_frames(traceback: TracebackType | None) -> list[Frame]:
    """Write down a traceback without the frames of this package, outermost first; bounded."""
    head: list[TracebackType] = []
    tail: deque[TracebackType] = deque(maxlen=_END_FRAMES)
    count = 0
    for entry in _foreign(traceback):
        count += 1
        if count <= _END_FRAMES:
            head.append(entry)
        else:
            tail.append(entry)
    frames = [_frame_of(entry) for entry in head]
    left_out = count - len(head) - len(tail)
    if left_out:
        frames.append(Frame(f"<{left_out} frames left out>", "...", 1))
    return frames + [_frame_of(entry) for entry in tail]


def without_own_frames(traceback: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that begins at the first frame outside this package.

    `raise error.with_traceback(without_own_frames(error.__traceback__))` in a function that users
    call leaves that function as the only frame of ours that they see.
    """
    while traceback is not None and _is_own(traceback.tb_frame.f_code.co_filename):
        traceback = traceback.tb_next
    return traceback


def build_traceback(frames: Sequence[Frame]) -> TracebackType | None:
    """Return a traceback whose entries are stand-ins for `frames`; None if there are none."""
    traceback = None
    for frame in reversed(frames):
        stand_in, instruction = _stand_in(frame)
        traceback = TracebackType(traceback, stand_in, instruction, frame.line)
    return traceback


def format_frames(frames: Iterable[Frame]) -> str:
    """Format frames as Python prints them, with source lines, carets and folded repetitions."""
    import traceback  # costs milliseconds: only once something has failed

    if sys.version_info >= (3, 11):
        entries = [
            traceback.FrameSummary(
                frame.file,
                frame.line,
                frame.function,
                end_lineno=frame.end_line,
                colno=frame.column,
                end_colno=frame.end_column,
            )
            for frame in frames
        ]
    else:
        entries = [
            traceback.FrameSummary(frame.file, frame.line, frame.function) for frame in frames
        ]
    return "".join(traceback.StackSummary.from_list(entries).format())


def _is_own(file: str) -> bool:
    return file.startswith(_PACKAGE)


def _foreign(traceback: TracebackType | None) -> Iterator[TracebackType]:
    """Yield the entries that are not ours, nor asyncio's where we entered it."""
    inside = False
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        inside = _is_own(file) or (inside and _ASYNCIO in file)
        if not inside:
            yield traceback
        traceback = traceback.tb_next


def _frame_of(entry: TracebackType) -> Frame:
    code = entry.tb_frame.f_code
    line, end_line, column, end_column = entry.tb_lineno, None, None, None
    if sys.version_info >= (3, 11) and entry.tb_lasti >= 0:
        places = next(islice(code.co_positions(), entry.tb_lasti // 2, None), (None,) * 4)
        if places[0] == line:
            _, end_line, column, end_column = places
    return Frame(code.co_filename, code.co_name, line or 1, end_line, column, end_column)


def _stand_in(frame: Frame) -> tuple[FrameType, int]:
    """Return a frame that stopped at the given position, and at which instruction it did."""
    variables: dict[str, Any] = {"__name__": "<remote>", "__file__": frame.file}
    # Kept by the frame, so that it stays where it is for as long as the frame lives.
    variables["__caller__"] = caller = _stop(_code_for(frame), variables)
    stopped = next(caller)
    return stopped.tb_frame, stopped.tb_lasti


def _stop(code: CodeType, variables: dict[str, Any]) -> Iterator[TracebackType]:
    """Yield where the code stops, which always raises.

    A frame knows the frame that called it. Called by us, the frames of an error would know whoever
    asks for it, and he the error: a circle that keeps everything on his stack, refs too, until the
    garbage is collected. A generator that has yielded has no caller, and this one knows nothing.
    """
    places: list[TracebackType] = []
    traceback: TracebackType | None = None
    try:
        exec(code, variables)
    except RuntimeError as error:
        traceback = error.__traceback__
    assert traceback is not None
    assert traceback.tb_next is not None
    places.append(traceback.tb_next)
    del variables, traceback
    yield places.pop()


def _code_for(frame: Frame) -> CodeType:
    """Compile `raise RuntimeError` so that it lies where the frame's own statement lay."""
    import ast  # costs milliseconds: only once something has failed

    line, column = max(frame.line, 1), frame.column or 0
    end_line, end_column = frame.end_line or line, frame.end_column or 0
    known = None not in frame and (line, column) <= (end_line, end_column)
    if not known:
        end_line, column, end_column = line, 0, 0
    error = ast.Name("RuntimeError", ast.Load())
    module = ast.Module([ast.Raise(error, None)], type_ignores=[])
    for node in (error, module.body[0]):
        node.lineno, node.end_lineno = line, end_line
        node.col_offset, node.end_col_offset = column, end_column
    code = compile(module, frame.file, "exec", dont_inherit=True)
    code = code.replace(co_name=frame.function)
    if sys.version_info >= (3, 11):
        code = code.replace(co_qualname=frame.function)
        if not known:
            table = _without_columns(len(code.co_code) // 2)
            code = code.replace(co_firstlineno=line, co_linetable=table)
    return code


def _without_columns(units: int) -> bytes:
    """Return a location table that puts `units` code units on the first line, at no column.

    Entries of kind 13 (line, no columns) of at most 8 units; see CPython Objects/locations.md.
    """
    table = bytearray()
    while units > 0:
        table += bytes([0x80 | 13 << 3 | min(units, 8) - 1, 0])
        units -= 8
    return bytes(table)
