from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import BinaryIO

import pytest

from flame_remote._local.output import TaskOutput


class Pipe:
    """A worker's output and the driver's end of it."""

    def __init__(self) -> None:
        read, self.descriptor = os.pipe()
        self.end: BinaryIO = os.fdopen(read, "rb")
        self.task = "f"
        self.output = TaskOutput(self.descriptor, lambda: f"({self.task}) ")

    def printed(self) -> str:
        """Return all that was written; nothing can be written any more."""
        os.close(self.descriptor)
        self.descriptor = -1
        return self.end.read().decode()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    if pipe.descriptor >= 0:
        os.close(pipe.descriptor)
    pipe.end.close()


def test_every_line_has_the_name_of_the_task(pipe: Pipe) -> None:
    print("one\ntwo", file=pipe.output)
    pipe.task = "g"
    print("three", 3, file=pipe.output)
    assert pipe.printed() == "(f) one\n(f) two\n(g) three 3\n"


def test_line_is_written_when_it_is_whole(pipe: Pipe) -> None:
    assert pipe.output.write("be") == 2
    pipe.output.flush()
    os.set_blocking(pipe.end.fileno(), False)
    assert pipe.end.read() is None
    pipe.output.write("gun\nand")
    assert pipe.end.read() == b"(f) begun\n"


def test_beginning_of_a_line_is_written_when_the_task_ends(pipe: Pipe) -> None:
    print("no end", end="", file=pipe.output)
    pipe.output.end_task()
    pipe.output.end_task()
    assert pipe.printed() == "(f) no end\n"


def test_line_that_never_ends_is_cut(pipe: Pipe) -> None:
    for _ in range(20_000):
        pipe.output.write(".")
    pipe.output.end_task()
    lines = pipe.printed().splitlines()
    assert len(lines) == 3
    assert sum(line.count(".") for line in lines) == 20_000


def test_what_utf_8_cannot_say_is_written_as_an_escape(pipe: Pipe) -> None:
    print("\u00e9\ud800", file=pipe.output)
    assert pipe.printed() == "(f) \u00e9\\ud800\n"


def test_buffer_and_descriptor_take_bytes_as_they_are(pipe: Pipe) -> None:
    pipe.output.buffer.write(b"raw ")
    os.write(pipe.output.fileno(), b"bytes\n")
    assert pipe.printed() == "raw bytes\n"


def test_more_than_the_pipe_holds_arrives_whole(pipe: Pipe) -> None:
    text = "x" * 8000 + "\n"
    arrived: list[str] = []
    reader = threading.Thread(target=lambda: arrived.append(pipe.end.read().decode()))
    reader.start()
    pipe.output.write(text * 100)
    os.close(pipe.descriptor)
    pipe.descriptor = -1
    reader.join()
    assert arrived == [f"(f) {text}" * 100]


def test_threads_that_print_at_the_same_time_lose_nothing(pipe: Pipe) -> None:
    arrived: list[str] = []
    reader = threading.Thread(target=lambda: arrived.append(pipe.end.read().decode()))
    reader.start()

    def work(name: str) -> None:
        for number in range(500):
            pipe.output.write(f"{name}{number}\n")

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(pipe.descriptor)
    pipe.descriptor = -1
    reader.join()
    expected = sorted(f"(f) {name}{number}" for name in "abcd" for number in range(500))
    assert sorted(arrived[0].splitlines()) == expected


def test_output_says_that_it_can_be_written_and_is_no_terminal(pipe: Pipe) -> None:
    assert pipe.output.writable()
    assert not pipe.output.readable()
    assert not pipe.output.isatty()
    assert pipe.output.encoding == "utf-8"
    with pytest.raises(TypeError):
        pipe.output.write(b"bytes")  # type: ignore[arg-type]
