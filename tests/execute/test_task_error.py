from __future__ import annotations

import abc
import asyncio
from typing import Any

import pytest

from flame_remote._execute.task_error import combined_class, user_class
from flame_remote.exceptions import TaskError, WorkerCrashedError


@pytest.mark.parametrize(
    "cls", [ValueError, KeyError, OSError, UnicodeDecodeError, StopIteration, WorkerCrashedError]
)
def test_most_classes_can_be_combined_with_task_error(cls: type[Exception]) -> None:
    combined = combined_class(cls)
    assert combined is not None
    assert issubclass(combined, (TaskError,))
    assert issubclass(combined, cls)
    assert combined.__name__ == f"TaskError({cls.__name__})"
    assert combined_class(cls) is combined


@pytest.mark.parametrize(
    "cls", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError]
)
def test_what_ends_more_than_the_task_is_not_combined(cls: type[BaseException]) -> None:
    assert combined_class(cls) is None
    assert combined_class(type("Derived", (cls,), {})) is None


def test_a_final_class_is_not_combined() -> None:
    class Meta(type):
        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> Any:
            if any(isinstance(base, Meta) for base in bases):
                raise TypeError("final")
            return super().__new__(cls, name, bases, body)

    class Final(Exception, metaclass=Meta):
        pass

    assert combined_class(Final) is None


def test_a_class_with_a_metaclass_of_its_own_is_combined() -> None:
    class Abstract(Exception, abc.ABC):
        pass

    combined = combined_class(Abstract)
    assert combined is not None
    assert issubclass(combined, Abstract)


def test_a_register_of_subclasses_hears_nothing() -> None:
    registered = []

    class Base(Exception):
        def __init_subclass__(cls, **kwargs: object) -> None:
            registered.append(cls.__name__)

    class Derived(Base):
        pass

    assert combined_class(Derived) is not None
    assert registered == ["Derived"]


def test_the_class_of_the_user_is_found_again() -> None:
    combined = combined_class(ValueError)
    assert combined is not None
    assert user_class(combined("x")) is ValueError
    assert user_class(KeyError("x")) is KeyError
