from __future__ import annotations

import pdb
import sys
import traceback
from types import TracebackType
from typing import Any

from flame_remote._execute.call import execute
from flame_remote._execute.frames import (
    Frame,
    build_traceback,
    format_frames,
    take_frames,
    without_own_frames,
)


def culprit(values: dict[str, Any]) -> Any:
    return values["ä"]["b"] + values["missing"]


def traceback_of(*args: Any) -> TracebackType:
    succeeded, error = execute(lambda: culprit(*args), (), {})
    assert not succeeded
    assert error.__traceback__ is not None
    return error.__traceback__  # type: ignore[no-any-return]


def test_frames_are_taken_without_those_of_the_package() -> None:
    taken = take_frames(traceback_of({}))
    assert [frame.function for frame in taken] == ["<lambda>", "culprit"]
    assert {frame.file for frame in taken} == {__file__}
    assert taken[-1].line == culprit.__code__.co_firstlineno + 1


def test_a_rebuilt_traceback_prints_as_the_original() -> None:
    original = without_own_frames(traceback_of({"ä": {"b": 1}}))
    rebuilt = build_traceback(take_frames(original))
    assert traceback.format_tb(rebuilt) == traceback.format_tb(original)
    assert "".join(traceback.format_tb(rebuilt)) == format_frames(take_frames(original))


def test_a_frame_of_unknown_columns_prints_without_carets() -> None:
    line = culprit.__code__.co_firstlineno + 1
    rebuilt = build_traceback([Frame(__file__, "culprit", line)])
    text = "".join(traceback.format_tb(rebuilt))
    assert text.splitlines() == [
        f'  File "{__file__}", line {line}, in culprit',
        '    return values["ä"]["b"] + values["missing"]',
    ]


def test_a_frame_with_impossible_positions_is_built_all_the_same() -> None:
    for frame in [
        Frame("x.py", "f", 0),
        Frame("x.py", "f", 5, 4, 10, 2),
        Frame("x.py", "f", 5, 5, 10, 2),
        Frame("<nowhere>", "<lambda>", 7, 7, 0, 1_000_000),
    ]:
        rebuilt = build_traceback([frame])
        assert f'File "{frame.file}"' in "".join(traceback.format_tb(rebuilt))


def test_no_frames_are_no_traceback() -> None:
    assert take_frames(None) == []
    assert build_traceback([]) is None
    assert without_own_frames(None) is None


def test_the_middle_of_an_endless_traceback_is_left_out() -> None:
    def deeper(n: int) -> int:
        return deeper(n + 1)

    succeeded, error = execute(deeper, (0,), {})
    assert not succeeded
    taken = take_frames(error.__traceback__)
    assert len(taken) == 101
    assert taken[50].file.endswith("frames left out>")
    assert len(format_frames(taken).splitlines()) < 40
    assert len(list(traceback.walk_tb(build_traceback(taken)))) == 101


def test_a_debugger_can_walk_through_a_rebuilt_traceback() -> None:
    rebuilt = build_traceback(take_frames(traceback_of({})))
    assert rebuilt is not None
    debugger = pdb.Pdb()
    debugger.reset()
    stack, _ = debugger.get_stack(None, rebuilt)
    assert [frame.f_code.co_name for frame, _ in stack] == ["<lambda>", "culprit"]


if sys.version_info >= (3, 11):

    def test_columns_are_kept() -> None:
        frame = take_frames(traceback_of({"ä": {"b": 1}}))[-1]
        line = '    return values["ä"]["b"] + values["missing"]'.encode()
        assert frame.column is not None
        assert line[frame.column : frame.end_column] == b'values["missing"]'
