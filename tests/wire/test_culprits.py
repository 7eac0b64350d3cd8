from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import Future

import pytest

from flame_remote._wire.culprits import advice_for, name_of


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (threading.Lock(), "a thread lock"),
        (threading.RLock(), "a thread lock"),
        (threading.Condition(), "a threading.Condition"),
        (threading.Timer(1, print), "a thread"),
        (Future(), "a future"),
        (sys._getframe(), "a stack frame"),
        (5, None),
        ({}, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_kind_is_known_by_its_class_or_a_base_of_it(value: object, name: str | None) -> None:
    assert name_of(value) == name


def test_a_running_process_and_an_event_loop_are_known() -> None:
    with subprocess.Popen(["true"]) as process:
        assert name_of(process) == "a running process"
    loop = asyncio.new_event_loop()
    assert name_of(loop) == "an event loop"
    loop.close()


def test_a_connection_of_any_database_driver_is_known_by_its_name() -> None:
    Connection = type("Connection", (), {"__module__": "some_driver"})
    assert name_of(Connection()) == "a database connection"


def test_there_is_advice_for_everything() -> None:
    assert advice_for(sys.stdout.buffer) == "pass its path, and open it inside the task"
    assert advice_for(object()) == "create it inside the task, or keep it in an actor"
