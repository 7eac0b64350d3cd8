from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from weakref import ref

import pytest

from flame_remote._local.ctrl_c import CtrlC
from flame_remote._local.fragile import finaliser
from flame_remote._local.turn import Turn


@pytest.fixture
def turn() -> Turn:
    return Turn()


@pytest.fixture
def later() -> list[Callable[[], None]]:
    """What the engine's thread would be asked to call."""
    return []


@pytest.fixture
def ctrl_c(turn: Turn, later: list[Callable[[], None]]) -> Iterator[CtrlC]:
    ctrl_c = CtrlC([turn], later.append)
    ctrl_c.install()
    yield ctrl_c
    ctrl_c.remove()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def press() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("ctrl_c")
def test_interrupt_in_a_turn_is_raised_as_it_ends(turn: Turn) -> None:
    finished = False
    with pytest.raises(KeyboardInterrupt), turn:  # noqa: PT012
        press()
        finished = True
    assert finished


@pytest.mark.usefixtures("ctrl_c")
def test_interrupt_in_a_finaliser_is_raised_later(later: list[Callable[[], None]]) -> None:
    class Mortal:
        pass

    finished = []

    @finaliser
    def end(_: object) -> None:
        press()
        finished.append(True)

    mortal = Mortal()
    watch = ref(mortal, end)
    del mortal
    gc.collect()
    assert (finished, watch()) == ([True], None)
    with pytest.raises(KeyboardInterrupt):
        later.pop()()


@pytest.mark.usefixtures("ctrl_c")
def test_interrupt_in_the_import_system_is_raised_later(later: list[Callable[[], None]]) -> None:
    code = compile("press(signal)", "<frozen importlib._bootstrap>", "exec")
    exec(code, {"press": signal.raise_signal, "signal": signal.SIGINT})
    with pytest.raises(KeyboardInterrupt):
        later.pop()()


def test_interrupt_is_known_from_one_that_user_code_raises(ctrl_c: CtrlC) -> None:
    before = ctrl_c.strikes
    assert not ctrl_c.may_have_struck(before)
    with pytest.raises(KeyboardInterrupt):
        press()
    assert ctrl_c.may_have_struck(before)


def test_interrupt_strikes_no_other_thread(ctrl_c: CtrlC) -> None:
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(ctrl_c.may_have_struck(-1)))
    thread.start()
    thread.join()
    assert answers == [False]


def test_handler_of_the_users_is_left_alone(turn: Turn) -> None:
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    ctrl_c = CtrlC([turn], [].append)
    ctrl_c.install()
    press()
    ctrl_c.remove()
    assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    signal.signal(signal.SIGINT, before)
    assert pressed == [signal.SIGINT]
    assert ctrl_c.may_have_struck(0)  # nobody knows
