from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from flame_remote._local.turn import Turn
from flame_remote.exceptions import EngineError


@pytest.fixture
def turn() -> Iterator[Turn]:
    """A turn that SIGINT asks first, as the engine's handler does."""
    turn = Turn()

    def on_interrupt(signum: int, frame: object) -> None:
        if not turn.defer_interrupt():
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, on_interrupt)
    yield turn
    signal.signal(signal.SIGINT, before)


def test_keyboard_interrupt_waits_for_the_end_of_the_turn(turn: Turn) -> None:
    finished = False

    def change() -> None:
        nonlocal finished
        with turn:
            signal.raise_signal(signal.SIGINT)
            finished = True

    with pytest.raises(KeyboardInterrupt):
        change()
    assert finished
    assert not turn.is_mine()


def test_keyboard_interrupt_outside_a_turn_strikes_at_once(turn: Turn) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with turn:
        pass  # nothing was noted


def test_deferred_keyboard_interrupt_is_raised_once(turn: Turn) -> None:
    with pytest.raises(KeyboardInterrupt), turn:  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    with turn:
        pass


def test_keyboard_interrupt_while_waiting_for_the_turn_is_deferred(turn: Turn) -> None:
    holding, entered = threading.Event(), False

    def hold() -> None:
        with turn:
            holding.set()
            # The main thread waits, or is about to: in both cases it has said so.
            while not turn._guarded:
                os.sched_yield()
            os.kill(os.getpid(), signal.SIGINT)

    holder = threading.Thread(target=hold)
    holder.start()
    holding.wait()
    try:
        with turn:
            entered = True
        # The signal may be handled as late as here.
        while True:
            os.sched_yield()
    except KeyboardInterrupt:
        pass
    holder.join()
    assert entered
    assert not turn.is_mine()


def test_turn_of_another_thread_defers_nothing(turn: Turn) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with turn:
            entered.set()
            leave.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    leave.set()
    holder.join()


def test_turn_refuses_to_be_entered_twice(turn: Turn) -> None:
    with turn:
        with pytest.raises(EngineError, match="finaliser"), turn:
            pass
        assert turn.is_mine()
    with turn:
        pass


def test_turn_ends_when_its_block_raises(turn: Turn) -> None:
    with pytest.raises(ZeroDivisionError), turn:
        1 / 0  # noqa: B018
    assert not turn.is_mine()
    with turn:
        assert turn.is_mine()


def test_only_one_thread_at_a_time_has_its_turn(turn: Turn) -> None:
    inside, most, total = 0, 0, 0

    def work() -> None:
        nonlocal inside, most, total
        for _ in range(500):
            with turn:
                inside += 1
                most = max(most, inside)
                total += 1
                os.sched_yield()
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, total) == (1, 4000)


def test_turn_that_is_taken_is_not_waited_for(turn: Turn) -> None:
    taken: list[bool] = []
    with turn:
        other = threading.Thread(target=lambda: taken.append(turn.enter_if_free()))
        other.start()
        other.join()
        assert not turn.enter_if_free()
    assert taken == [False]
    assert turn.enter_if_free()
    assert turn.is_mine()
    turn.__exit__()
    assert not turn.is_mine()


MAIN_THREAD_OF_A_CHILD = """
import os, signal, threading

def in_child():
    from flame_remote._local.turn import Turn
    turn = Turn()
    signal.signal(signal.SIGINT, lambda *_: turn.defer_interrupt() or os._exit(1))
    try:
        with turn:
            signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        os._exit(7)
    os._exit(2)

def fork():
    pid = os.fork()
    if not pid:
        in_child()
    status.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

import flame_remote._local.turn
status = []
thread = threading.Thread(target=fork)
thread.start()
thread.join()
print(status)
"""


def test_thread_that_forked_is_the_main_thread_of_the_child() -> None:
    # Signal handlers can be set in the child, as Python also takes that thread for the main one.
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MAIN_THREAD_OF_A_CHILD],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ended.stdout, ended.stderr) == ("[7]\n", "")
