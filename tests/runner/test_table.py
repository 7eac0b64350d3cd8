"""Runner: owns the services of one application."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

import flame_remote as flame
from flame_remote import _current
from flame_remote._options import ActorOptions, TaskOptions
from flame_remote.runner import ActorService, FunctionService, Policy, Runner
from flame_remote.runner.source import Source


class Counter:
    pass


@pytest.fixture
def runner() -> Iterator[Runner]:
    flame.init("inline")
    assert _current.engine is not None
    yield Runner("test", _current.engine)
    flame.shutdown()


def test_the_kind_of_target_decides_the_kind_of_service(runner: Runner) -> None:
    function = runner.service(Source.of(len), TaskOptions())
    assert isinstance(function, FunctionService)
    assert function.policy == Policy(True, 0, None)
    actor = runner.service(Source.of(Counter), ActorOptions())
    assert isinstance(actor, ActorService)
    assert actor.policy == Policy(False, 1, 1)


def test_a_closed_runner_makes_no_more_services(runner: Runner) -> None:
    runner.close()
    runner.close()
    with pytest.raises(flame.EngineClosedError):
        runner.service(Source.of(len), TaskOptions())


def test_a_service_leaves_with_its_target(runner: Runner) -> None:
    source = Source.of(lambda: 1)
    service = weakref.ref(runner.service(source, TaskOptions()))
    assert service() is not None
    del source
    gc.collect()
    assert service() is None


def test_a_target_that_cannot_be_exported_is_tried_anew(runner: Runner) -> None:
    source = Source.of(len)
    with pytest.raises(flame.UnschedulableError):
        runner.service(source, TaskOptions(num_cpus=1_000_000))
    assert runner.service(source, TaskOptions()).target.name == "len"
