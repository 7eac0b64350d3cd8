"""Which target has which service."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import flame_remote as flame
from flame_remote import _current, _registry
from flame_remote._options import TaskOptions
from flame_remote._registry import service_of
from flame_remote.engine import Engine
from flame_remote.runner.source import Source


@pytest.fixture
def engine() -> Iterator[Engine]:
    flame.init("inline")
    assert _current.engine is not None
    yield _current.engine
    flame.shutdown()


def test_one_service_serves_a_target_under_equal_options(engine: Engine) -> None:
    source = Source.of(len)
    service = service_of(engine, source, TaskOptions())
    assert service_of(engine, source, TaskOptions()) is service
    other = service_of(engine, source, TaskOptions(num_cpus=2))
    assert other is not service
    assert other.target.id != service.target.id


def test_options_given_at_the_call_share_a_service_from_call_to_call(engine: Engine) -> None:
    function = flame.remote(len)
    services = set()
    for _ in range(3):
        again = function.options(num_cpus=1.5)
        again.remote("abc")
        services.add(again._service())
    assert len(services) == 1


def test_many_threads_get_one_service(engine: Engine) -> None:
    source, start = Source.of(len), threading.Barrier(8)

    def ask(_: int) -> int:
        start.wait()
        return id(service_of(engine, source, TaskOptions()))

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(ask, range(8)))) == 1


def test_services_leave_with_their_engine(engine: Engine) -> None:
    service_of(engine, Source.of(len), TaskOptions())
    assert engine.session in _registry._tables
    flame.shutdown()
    assert engine.session not in _registry._tables
