"""Ctrl-C, at any instant of any call: it arrives, and the engine works on."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame
from flame_remote import _current

from ..at_line import AtLine
from .driver import Driver
from .helpers import Pipe, require_alive, say, square

INTERRUPTS = 5  # of each of these, at instants that nobody foresees


@pytest.mark.parametrize(
    "what",
    [
        "get what never comes",
        "wait for what never comes",
        "submit with a value",
        "put much",
        "make an actor",
    ],
)
def test_the_engine_works_after_interrupts(what: str, tmp_path: Path) -> None:
    with Driver(tmp_path, "interrupted", what, INTERRUPTS) as driver:
        assert driver.wait() == 0, driver.errors()
        assert driver.output() == "works\n"
        assert driver.errors() == ""
        assert driver.left_behind() == []


# --- at every line ------------------------------------------------------------------------------


@flame.remote
class Adder:
    def add(self, n: int) -> int:
        return n


@flame.remote
def wait_for_ever(started: str) -> None:
    say(started, "running")
    threading.Event().wait()


def interrupt_at_line(action: Callable[[], object], n: int) -> bool:
    """Do something, and interrupt it as it comes to the n-th line; say whether it did."""
    at_line = AtLine(n, lambda: signal.raise_signal(signal.SIGINT))
    interrupted = False
    try:
        at_line.run(action)
        if at_line.where:  # in a finaliser: it strikes a moment later
            threading.Event().wait(10)
    except KeyboardInterrupt:
        interrupted = True
    assert interrupted == bool(at_line.where), at_line.where
    return interrupted


def in_thread(function: Callable[[], Any]) -> list[Any]:
    """Return what a function returns in a thread of its own, if it does."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    "what",
    ["get in vain", "get", "get much", "wait", "submit", "put", "put much", "cancel", "call"],
)
def test_an_interrupt_at_any_line_tears_nothing(what: str, tmp_path: Path) -> None:
    large, adder = flame.put(bytearray(1 << 20)), Adder.remote()
    with Pipe(tmp_path) as started:
        never = wait_for_ever.remote(started.path)
        started.line()

    def get_in_vain() -> None:
        with suppress(flame.GetTimeoutError):
            flame.get(never, timeout=0.0005)

    actions: dict[str, Callable[[], object]] = {
        "get in vain": get_in_vain,
        "get": lambda: flame.get(square.remote(2)),
        "get much": lambda: flame.get(large),
        "wait": lambda: flame.wait([square.remote(n) for n in range(3)], num_returns=2),
        "submit": lambda: square.remote(2),
        "put": lambda: flame.put([1]),
        "put much": lambda: flame.put(bytearray(1 << 20)),
        "cancel": lambda: flame.cancel(square.remote(3)),
        "call": lambda: flame.get(adder.add.remote(1)),
    }
    for n in itertools.count(1):
        came = interrupt_at_line(actions[what], n)
        # In a thread: nobody must think that the main one still waits, and handles what comes.
        assert in_thread(lambda n=n: flame.get(square.remote(n), timeout=20)) == [n * n]
        if not came:
            break
    assert n > 50
    engine: Any = _current.engine
    assert engine._core.segments.reserved_bytes <= 8 << 20
    require_alive()
