from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from flame_remote._execute.call import execute, execute_coroutine, is_coroutine


def raise_(error: BaseException) -> None:
    raise error


async def later(value: Any) -> Any:
    if isinstance(value, BaseException):
        raise value
    return value


def test_a_value_comes_with_true() -> None:
    assert execute(pow, (2, 3), {"mod": 5}) == (True, 3)


@pytest.mark.parametrize(
    "kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError]
)
def test_every_exception_comes_with_false(kind: type[BaseException]) -> None:
    error = kind("x")
    assert execute(raise_, (error,), {}) == (False, error)
    assert asyncio.run(execute_coroutine(later(error))) == (False, error)


def test_a_call_with_wrong_arguments_is_an_exception_like_any_other() -> None:
    succeeded, error = execute(later, (), {})
    assert not succeeded
    assert isinstance(error, TypeError)


def test_a_coroutine_is_not_awaited_but_recognised() -> None:
    succeeded, coroutine = execute(later, (5,), {})
    assert succeeded
    assert is_coroutine(coroutine)
    assert asyncio.run(execute_coroutine(coroutine)) == (True, 5)


def test_a_generator_is_no_coroutine() -> None:
    def generate() -> Generator[int, None, None]:
        yield 1

    assert not is_coroutine(generate())
    assert not is_coroutine(later)
    assert not is_coroutine(None)
