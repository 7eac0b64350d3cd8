"""The ends of log files, and what is written to them from now on."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final

# The standard library has no way to be told that a file grows. Slower looks like lagging.
LOOK_EVERY_SECONDS: Final = 0.1
_BLOCK: Final = 1 << 16


def show_end(files: Mapping[str, Path], lines: int | None) -> dict[str, int]:
    """Write the end of each file to standard output, below its name if there are several.

    Args:
        files: paths by the names they are shown with.
        lines: how many lines of each; None for all. Several that are empty are passed over.

    Returns:
        How many bytes of each file have been shown or passed over.
    """
    positions = {}
    out = sys.stdout.buffer
    for name, path in files.items():
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            if len(files) > 1 and size:
                out.write(f"==> {name} <==\n".encode(errors="replace"))
            file.seek(0 if lines is None else _start_of_last_lines(file, lines))
            while block := file.read(_BLOCK):
                out.write(block)
            positions[name] = file.tell()
    out.flush()
    return positions


def follow(
    find: Callable[[], Mapping[str, Path]],
    positions: Mapping[str, int],
    goes_on: Callable[[], bool],
) -> None:
    """Write what is added to files, with the file's name in front if there are several.

    Args:
        find: paths by name; it is asked again and again, as files come.
        positions: where to begin, as `show_end` returned it; at the beginning of new files.
        goes_on: whether more may come; asked every LOOK_EVERY_SECONDS. Blocks until it says no.
    """
    with ExitStack() as opened:
        streams: dict[str, BinaryIO] = {}
        while True:
            last = not goes_on()  # what was written before the end is still shown
            for name, path in find().items():
                if name not in streams:
                    streams[name] = opened.enter_context(open(path, "rb"))
                    streams[name].seek(positions.get(name, 0))
            for name, stream in streams.items():
                _copy(stream, f"{name}: ".encode() if len(streams) > 1 else b"", last)
            sys.stdout.buffer.flush()
            if last:
                return
            time.sleep(LOOK_EVERY_SECONDS)


def _copy(stream: BinaryIO, prefix: bytes, last: bool) -> None:
    """Write the lines that have come; one that has no end yet only if this is the last time."""
    begin = stream.tell()
    data = stream.read()
    if not last:
        data = data[: data.rfind(b"\n") + 1]
        stream.seek(begin + len(data))
    for line in data.splitlines(keepends=True):
        sys.stdout.buffer.write(prefix + line)


def _start_of_last_lines(file: BinaryIO, lines: int) -> int:
    """Return where the last lines of a file begin, reading it backwards in blocks."""
    end = position = file.seek(0, os.SEEK_END)
    if lines == 0:
        return end
    while position > 0:
        start = max(0, position - _BLOCK)
        file.seek(start)
        block = file.read(position - start)
        at = len(block) - (position == end)  # an end of line at the very end begins no line
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            lines -= 1
            if lines == 0:
                return start + at + 1
        position = start
    return 0
