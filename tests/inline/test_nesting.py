from __future__ import annotations

import bdb
import signal
import sys
from collections.abc import Callable

import pytest

from flame_remote._execute.call import execute
from flame_remote._execute.stack import is_stack_nearly_full
from flame_remote._inline.nesting import ends_the_program


def raise_(error: BaseException) -> None:
    raise error


def chained() -> None:
    try:
        raise KeyboardInterrupt("first")
    except KeyboardInterrupt:
        raise


@pytest.mark.parametrize(
    ("function", "ends"),
    [
        (lambda: signal.raise_signal(signal.SIGINT), True),
        (lambda: raise_(bdb.BdbQuit()), True),
        (lambda: raise_(KeyboardInterrupt()), False),
        (chained, False),
        (lambda: raise_(SystemExit()), False),
        (lambda: raise_(ValueError()), False),
    ],
    ids=["ctrl-c", "quit", "raised", "raised again", "exit", "error"],
)
def test_only_what_comes_from_outside_ends_the_program(
    function: Callable[[], None], ends: bool
) -> None:
    succeeded, error = execute(function, (), {})
    assert not succeeded
    assert ends_the_program(error) is ends


def test_the_stack_is_called_full_long_before_python_finds_it_so() -> None:
    def deeper(n: int) -> int:
        return n if is_stack_nearly_full() else deeper(n + 1)

    depth = deeper(0)
    assert 100 < depth < sys.getrecursionlimit() * 0.7
    assert not is_stack_nearly_full()
