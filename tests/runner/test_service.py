"""Services: what a call looks like when it reaches the engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import flame_remote as flame
from flame_remote import _current
from flame_remote._options import ActorOptions, MethodOptions, TaskOptions
from flame_remote._refs import ObjectRef
from flame_remote._spec import Demand, TargetKind, TaskSpec
from flame_remote._wire.arguments import ALL
from flame_remote._wire.packing import pack, unpack
from flame_remote.engine import Engine
from flame_remote.runner.service import ActorService, FunctionService, MethodService
from flame_remote.runner.source import Source


def function(*args: Any, **kwargs: Any) -> None: ...


class Counter: ...


class Recorder:
    """An engine of which every submitted call is kept, and none is run."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.specs: list[TaskSpec] = []
        engine.submit = self._submit

    def _submit(self, spec: TaskSpec) -> ObjectRef[Any]:
        self.specs.append(spec)
        # Count what the call takes, as an engine does.
        self.engine.ref_events.extend(-object_id for _, object_id in spec.dependencies)
        return ObjectRef(spec.id, self.engine)

    def put(self, value: object) -> ObjectRef[Any]:
        return self.engine.put(pack(value, lambda: "a value"))


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    flame.init("inline")
    assert _current.engine is not None
    yield Recorder(_current.engine)
    flame.shutdown()


@pytest.fixture
def service(recorder: Recorder) -> FunctionService:
    return FunctionService(recorder.engine, Source.of(function), TaskOptions())


def test_numbers_travel_as_they_are(recorder: Recorder, service: FunctionService) -> None:
    ref = service.submit((1, 2.5, None, True), {})
    (spec,) = recorder.specs
    assert spec.payload == (1, 2.5, None, True)
    assert (spec.dependencies, spec.nested, spec.actor, spec.parent) == ((), (), 0, 0)
    assert spec.target is service.target
    assert spec.id == ref._id


def test_other_values_are_packed_at_the_call(recorder: Recorder, service: FunctionService) -> None:
    words = ["a"]
    service.submit((words,), {"k": 1})
    words.append("b")
    payload = recorder.specs[0].payload
    assert isinstance(payload, bytes)
    assert unpack(payload) == ((["a"],), {"k": 1})


def test_refs_become_dependencies_and_nested_refs_are_named(
    recorder: Recorder, service: FunctionService
) -> None:
    a, b, c = (recorder.put(n) for n in range(3))
    service.submit((1, a, [c]), {"k": b})
    (spec,) = recorder.specs
    assert set(spec.dependencies) == {(1, a._id), ("k", b._id)}
    assert spec.nested == (c._id,)


def test_large_arguments_are_put_and_become_one_dependency(
    recorder: Recorder, service: FunctionService
) -> None:
    nested, other = recorder.put(1), recorder.put(2)
    service.submit((bytes(200_000), [nested], other), {})
    (spec,) = recorder.specs
    (place, stored), second = spec.dependencies
    assert place == ALL
    assert second == (2, other._id)
    assert spec.payload == ()
    assert spec.nested == ()  # the stored arguments hold it
    args, kwargs = ObjectRef[Any](stored, recorder.engine).get()
    assert (len(args[0]), args[1], args[2], kwargs) == (200_000, [nested], None, {})


def test_ids_of_targets_follow_from_what_they_are(recorder: Recorder) -> None:
    def make(value: Any, **options: Any) -> int:
        made = FunctionService(recorder.engine, Source.of(value), TaskOptions(**options))
        return made.target.id

    assert make(function) == make(function)
    assert 0 < make(function) < 1 << 63
    assert len({make(function), make(len), make(function, num_cpus=0), make(max)}) == 4


def test_a_target_carries_the_options(recorder: Recorder) -> None:
    options = TaskOptions(num_cpus=0.5, max_retries=7, name="named")
    target = FunctionService(recorder.engine, Source.of(function), options).target
    assert target.kind is TargetKind.FUNCTION
    assert (target.name, target.max_retries) == ("named", 7)
    assert target.demand == Demand.of({"CPU": 0.5})


def test_a_class_is_constructed_by_a_call_of_its_service(recorder: Recorder) -> None:
    made = ActorService(recorder.engine, Source.of(Counter), ActorOptions(max_concurrency=5))
    assert made.target.kind is TargetKind.ACTOR
    assert (made.target.max_concurrency, made.target.demand) == (5, Demand())
    ref = made.submit((1,), {})
    assert recorder.specs[0].id == ref._id


def test_a_method_is_called_on_its_instance(recorder: Recorder) -> None:
    instance = recorder.put(1)
    made = MethodService(instance, "Counter", "add", None, MethodOptions())
    made.submit((1,), {})
    made.submit(("text",), {"k": 1})
    assert [spec.actor for spec in recorder.specs] == [instance._id] * 2
    target = made.target
    assert (target.kind, target.name, target.method) == (TargetKind.METHOD, "Counter.add", "add")
    assert (target.code, target.demand, target.max_retries) == (b"", Demand(), 0)
    again = MethodService(recorder.put(2), "Counter", "add", None, MethodOptions())
    assert again.target is target


def test_refs_that_code_closes_over_are_kept_by_the_target(recorder: Recorder) -> None:
    ref = recorder.put(3)
    made = FunctionService(recorder.engine, Source.of(lambda: ref), TaskOptions())
    assert made.target.refs == (ref,)


def test_code_that_closes_over_a_ref_of_an_ended_session_is_refused() -> None:
    ref = flame.init("inline")._engine.put(pack(1, lambda: "a value"))
    flame.shutdown()
    with (
        flame.init("inline") as session,
        pytest.raises(flame.SessionEndedError, match="a ref that <lambda> closes over"),
    ):
        FunctionService(session._engine, Source.of(lambda: ref), TaskOptions())
