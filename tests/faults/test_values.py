"""Values that are too large, too deep, or dangerous to take apart; and bytes that mean nothing."""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import numpy
import pytest

import flame_remote as flame

from .helpers import Pipe, note, require_alive, say, square

pytestmark = pytest.mark.usefixtures("engine")


@flame.remote
def identity(x: Any) -> Any:
    return x


def test_infinite_recursion_is_an_error_of_the_task() -> None:
    @flame.remote
    def endless(n: int) -> int:
        return int(endless(n + 1))

    with pytest.raises(RecursionError) as caught:
        flame.get(endless.remote(0))
    assert isinstance(caught.value, flame.TaskError)
    assert len(caught.value.remote_traceback) < 64 * 1024
    require_alive()


def test_a_value_that_is_nested_too_deep_is_refused_and_kills_nobody() -> None:
    def nested(depth: int) -> list[Any]:
        value: list[Any] = []
        for _ in range(depth):
            value = [value]
        return value

    @flame.remote(max_retries=0)
    def return_nested(depth: int) -> Any:
        return nested(depth)

    with pytest.raises(flame.SerializationError):
        flame.get(return_nested.remote(100_000))
    with pytest.raises(flame.SerializationError):
        identity.remote(nested(100_000))
    with pytest.raises(flame.SerializationError):
        flame.put(nested(100_000))
    require_alive()


class Bomb:
    """Rebuilding it has consequences."""

    def __init__(self, consequence: Any, *arguments: Any) -> None:
        self._consequence = consequence, arguments

    def __reduce__(self) -> Any:
        return self._consequence


def fail(message: str) -> None:
    raise LookupError(message)


def end_process(ledger: str) -> None:
    note(ledger, "attempt")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("retries", [0, 2])
def test_an_argument_whose_rebuilding_kills_is_a_crash_of_the_task(
    retries: int, tmp_path: Path
) -> None:
    ledger = str(tmp_path / "ledger")
    ref = identity.options(max_retries=retries).remote(Bomb(end_process, ledger))
    others = [square.options(max_retries=0).remote(n) for n in range(100)]
    with pytest.raises(flame.WorkerCrashedError) as caught:
        flame.get(ref)
    assert caught.value.attempts == retries + 1
    assert note(ledger, "attempt") == retries + 2
    assert flame.get(others) == [n * n for n in range(100)]


def test_an_argument_whose_rebuilding_fails_is_an_error_of_its_call() -> None:
    for argument in (Bomb(fail, "broken"), [Bomb(fail, "broken")]):
        with pytest.raises(flame.DeserializationError, match="broken"):
            flame.get(identity.remote(argument))
    require_alive()


def test_an_argument_whose_rebuilding_wants_to_exit_is_an_error_of_its_call() -> None:
    with pytest.raises(flame.DeserializationError, match="SystemExit"):
        flame.get(identity.remote(Bomb(raise_exit)))
    require_alive()


def raise_exit() -> None:
    raise SystemExit(3)


def test_a_result_whose_rebuilding_fails_is_an_error_of_its_get() -> None:
    @flame.remote
    def return_bomb() -> Any:
        return Bomb(fail, "broken")

    ref, good = return_bomb.remote(), square.remote(5)
    for _ in range(2):
        with pytest.raises(flame.DeserializationError, match="broken"):
            flame.get(ref)
    with pytest.raises(flame.DeserializationError, match="broken"):
        flame.get([good, ref])
    assert flame.get(good) == 25
    require_alive()


def test_a_result_that_no_memory_can_hold_is_an_error_of_its_task() -> None:
    @flame.remote(max_retries=0)
    def return_much() -> Any:
        return numpy.broadcast_to(numpy.zeros(1), (1 << 46,))

    @flame.remote(max_retries=0)
    def allocate_much() -> Any:
        return numpy.empty(1 << 50, dtype=numpy.uint8)

    for task in (return_much, allocate_much):
        with pytest.raises(flame.FlameError, match=r"memory|Memory|allocate"):
            flame.get(task.remote())
    require_alive()


# --- bytes that are no message ----------------------------------------------------------------


def sockets() -> list[int]:
    """Return the descriptors of this process's sockets."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                found.append(int(name))
        except OSError:
            pass
    return found


JUNK = {
    "ones": b"\xff" * 4096,
    "zeros": b"\0" * 4096,
    "text": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100,
    "no pickle": b"\x08\0\0\0\0\0\0\0garbage!",
    "no message": b"\x06\0\0\0\0\0\0\0\x80\x05K\x01.\0",
    "no such message": b"\x0a\0\0\0\0\0\0\0\x80\x05]K\xfaa.\0\0\0",
    "descriptors that are not there": b"\x08\0\0\0\x09\0\0\0garbage!",
}


@pytest.mark.parametrize("junk", JUNK)
def test_a_worker_that_writes_nonsense_is_ended(junk: str, tmp_path: Path) -> None:
    @flame.remote(max_retries=0)
    def write_junk(data: bytes, started: str) -> None:
        say(started, "running")
        for descriptor in sockets():
            os.write(descriptor, data)
        threading.Event().wait()

    with Pipe(tmp_path) as started:
        ref = write_junk.remote(JUNK[junk], started.path)
        started.line()
        others = [square.options(max_retries=0).remote(n) for n in range(100)]
        with pytest.raises(flame.WorkerCrashedError):
            flame.get(ref)
    assert flame.get(others) == [n * n for n in range(100)]
    require_alive()


def test_a_worker_that_closes_its_connections_is_ended() -> None:
    @flame.remote(max_retries=0)
    def close_all() -> None:
        for descriptor in sockets():
            socket.close(descriptor)
        threading.Event().wait()

    with pytest.raises(flame.WorkerCrashedError):
        flame.get(close_all.remote())
    require_alive()


def test_a_worker_that_closes_all_descriptors_is_ended() -> None:
    @flame.remote(max_retries=0)
    def close_all() -> None:
        os.closerange(0, 1000)

    with pytest.raises(flame.WorkerCrashedError):
        flame.get(close_all.remote())
    require_alive()
