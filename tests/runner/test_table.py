"""The services of one engine."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

import flame_remote as flame
from flame_remote import _current
from flame_remote._options import ActorOptions, TaskOptions
from flame_remote.runner.service import ActorService, FunctionService
from flame_remote.runner.source import Source
from flame_remote.runner.table import ServiceTable


class Counter:
    pass


@pytest.fixture
def table() -> Iterator[ServiceTable]:
    flame.init("inline")
    assert _current.engine is not None
    yield ServiceTable(_current.engine)
    flame.shutdown()


def test_the_kind_of_target_decides_the_kind_of_service(table: ServiceTable) -> None:
    function = table.service(Source.of(len), TaskOptions())
    assert isinstance(function, FunctionService)
    actor = table.service(Source.of(Counter), ActorOptions())
    assert isinstance(actor, ActorService)


def test_a_closed_table_makes_no_more_services(table: ServiceTable) -> None:
    table.close()
    table.close()
    with pytest.raises(flame.EngineClosedError):
        table.service(Source.of(len), TaskOptions())


def test_a_service_leaves_with_its_target(table: ServiceTable) -> None:
    source = Source.of(lambda: 1)
    service = weakref.ref(table.service(source, TaskOptions()))
    assert service() is not None
    del source
    gc.collect()
    assert service() is None


def test_a_target_that_cannot_be_exported_is_tried_anew(table: ServiceTable) -> None:
    source = Source.of(len)
    with pytest.raises(flame.UnschedulableError):
        table.service(source, TaskOptions(num_cpus=1_000_000))
    assert table.service(source, TaskOptions()).target.name == "len"
