"""Ray's names: checks of arguments, errors, and what Ray's objects have beside flame's."""

from __future__ import annotations

import asyncio
import inspect
import io
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import flame_remote as flame
import flame_remote.compat.ray as ray
from flame_remote.compat.ray.util import inspect_serializability, log_once, state
from flame_remote.compat.ray.util.multiprocessing import Pool


@ray.remote
def increase(number: int = 0) -> int:
    return number + 1


@ray.remote
def fail(*args: object) -> None:
    raise KeyError(*args)


@ray.remote
class Counter:
    """Counts."""

    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, number: int = 1) -> int:
        self.value += number
        return self.value

    def upto(self, number: int) -> Any:
        yield from range(number)

    def broken(self) -> Any:
        yield 1
        raise KeyError("over")


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda ref: ray.get((ref,)), ValueError),
        (lambda ref: ray.get({"a": ref}), ValueError),
        (lambda ref: ray.get(5), ValueError),
        (lambda ref: ray.get(increase), ValueError),
        (lambda ref: ray.get([5]), TypeError),
        (lambda ref: ray.put(ref), TypeError),
        (lambda ref: ray.wait(ref), TypeError),
        (lambda ref: ray.wait((ref,)), TypeError),
        (lambda ref: ray.wait([5]), TypeError),
        (lambda ref: ray.wait([ref], num_returns=0), ValueError),
        (lambda ref: ray.wait([ref], num_returns=2), ValueError),
        (lambda ref: ray.wait([ref], timeout=-1), ValueError),
        (lambda ref: ray.wait([ref, ref]), ValueError),
        (lambda ref: ray.cancel(5), TypeError),
        (lambda ref: ray.kill(ref), ValueError),
        (lambda ref: ray.get_actor(""), ValueError),
        (lambda ref: increase(1), TypeError),
        (lambda ref: Counter(), TypeError),
        (lambda ref: increase.remote(1, 2), TypeError),
        (lambda ref: Counter.remote(1, 2), TypeError),
        (lambda ref: increase.options(num_cpu=1), ValueError),
        (lambda ref: increase.options(num_cpus="many"), TypeError),
        (lambda ref: increase.options(max_calls=1), ValueError),
        (lambda ref: increase.options(num_returns="streaming"), ValueError),
        (lambda ref: increase.options(scheduling_strategy=object()), ValueError),
        (lambda ref: increase.options(label_selector={"zone": "a"}), ValueError),
        (lambda ref: Counter.options(num_returns=2), ValueError),
        (lambda ref: ray.remote(5), AssertionError),
        (lambda ref: ray.remote(increase, 5), AssertionError),
        (lambda ref: ray.remote(), AssertionError),
        (lambda ref: ray.remote(increase), TypeError),
        (lambda ref: ray.remote(colour="red"), ValueError),
        (lambda ref: ray.method(colour="red"), AssertionError),
        (lambda ref: ray.init(), RuntimeError),
        (lambda ref: ray.init(colour="red"), RuntimeError),
        (lambda ref: ray.init("ray://host:10001"), ValueError),
        (lambda ref: type("Sub", (Counter,), {}), TypeError),
        (lambda ref: Pool(1, ray_remote_args={"num_gpus": 1}), ValueError),
    ],
)
def test_what_ray_refuses_is_refused_with_an_error_of_the_same_type(
    call: Callable[[Any], object], error: type[Exception]
) -> None:
    with ray.init(local_mode=True, num_cpus=2), pytest.raises(error):
        call(ray.put(1))


def test_what_ray_takes_without_effect_on_one_machine_is_taken(engine: str) -> None:
    with ray.init(
        num_cpus=2,
        include_dashboard=False,
        logging_level="ERROR",
        log_to_driver=False,
        ignore_reinit_error=True,
    ) as context:
        assert context["address"] == "local"
        assert dict(context) == context.address_info
        easy = increase.options(
            scheduling_strategy="SPREAD", enable_task_events=False, label_selector=None
        )
        assert ray.get(easy.remote(1), timeout=-1) == 2
        assert ray.wait([], timeout=0) == ([], [])
        assert ray.wait([ray.put(1)], fetch_local=False)[1] == []
        assert ray.get(easy._remote(args=[2], num_cpus=1)) == 3
    assert not ray.is_initialized()


def test_handles_and_methods_have_what_rays_have(engine: str) -> None:
    counter = Counter.options(max_restarts=0, lifetime=None).remote(start=1)
    assert isinstance(counter, ray.actor.ActorHandle)
    assert ray.get(counter.__ray_ready__.remote()) is True
    assert ray.get(counter.__ray_call__.remote(lambda self, n: self.value + n, 5)) == 6
    assert ray.get(counter.add._remote(kwargs={"number": 2})) == 3
    assert len(counter._actor_id.hex()) == 48
    with pytest.raises(TypeError, match=r"add.remote"):
        counter.add()
    with pytest.raises(AttributeError, match="minus"):
        _ = counter.minus
    assert "add" in dir(counter)
    counter.__ray_terminate__.remote()
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(counter.add.remote())


def test_handles_are_equal_wherever_they_have_been(engine: str) -> None:
    @ray.remote
    def same(handles: list[Any]) -> Any:
        ray.get(handles[0].add.remote())
        return handles[0]

    counter = Counter.remote()
    again = ray.get(same.remote([counter]))
    assert again == counter
    assert len({again, counter}) == 1
    assert ray.get(again.add.remote()) == 2


# --- refs -----------------------------------------------------------------------------------------


def test_refs_have_what_rays_have(engine: str) -> None:
    @ray.remote
    def hex_of(refs: list[Any]) -> str:
        return refs[0].hex()  # type: ignore[no-any-return]

    ref, other = increase.remote(1), increase.remote(2)
    assert ref.hex() == ref.binary().hex() != other.hex()
    assert ray.get(hex_of.remote([ref])) == ref.hex()
    assert ref.task_id() == ref.task_id() != other.task_id()
    assert ref.job_id() == other.job_id()
    assert ref.future().result() == 2

    async def wait() -> Any:
        return await ref.as_future()

    assert asyncio.run(wait()) == 2


# --- generators -----------------------------------------------------------------------------------


def test_the_items_of_a_generator_method_come_one_by_one(engine: str) -> None:
    counter = Counter.remote()
    items = counter.upto.remote(20)
    assert isinstance(items, ray.ObjectRefGenerator)
    assert ray.get(items) is items
    assert [ray.get(ref) for ref in items] == list(range(20))
    assert items.is_finished()
    assert list(counter.upto.remote(3).values()) == [0, 1, 2]
    assert ray.get(counter.upto.remote(3).completed()) is None
    assert ray.get(counter.add.remote()) == 1


def test_a_generator_method_runs_ahead_as_far_as_it_may(engine: str) -> None:
    counter = Counter.remote()
    items = counter.upto.options(_generator_backpressure_num_objects=1).remote(3)
    assert [ray.get(ref) for ref in items] == [0, 1, 2]
    with pytest.raises(ValueError, match="backpressure"):
        counter.add.options(_generator_backpressure_num_objects=1)


def test_an_error_of_a_generator_method_is_its_last_item(engine: str) -> None:
    items = Counter.remote().broken.remote()
    assert ray.get(next(items)) == 1
    with pytest.raises(KeyError, match="over"):
        ray.get(next(items))
    assert list(items) == []


def test_a_generator_method_that_is_called_wrongly_says_so(engine: str) -> None:
    counter = Counter.remote()
    with pytest.raises(TypeError):
        ray.get(next(counter.upto.remote("a", "b")))


def test_the_items_of_an_async_generator_method_come_one_by_one(engine: str) -> None:
    @ray.remote
    class Speaker:
        async def words(self, number: int) -> Any:
            for place in range(number):
                await asyncio.sleep(0)
                yield f"word {place}"

    async def listen(speaker: Any) -> list[str]:
        return [await ref async for ref in speaker.words.remote(3)]

    speaker = Speaker.remote()
    assert asyncio.run(listen(speaker)) == ["word 0", "word 1", "word 2"]
    closed = speaker.words.remote(3)
    assert ray.get(next(closed)) == "word 0"
    closed.close()
    assert list(closed) == []


def test_all_items_come_at_once_with_dynamic_returns(engine: str) -> None:
    def items(number: int) -> Any:
        yield from range(number)

    with pytest.warns(DeprecationWarning, match="dynamic"):
        dynamic = ray.remote(num_returns="dynamic")(items)
    found = ray.get(dynamic.remote(3))
    assert isinstance(found, ray.DynamicObjectRefGenerator)
    assert [ray.get(ref) for ref in found] == [0, 1, 2] == ray.get(list(found))


# --- errors ---------------------------------------------------------------------------------------


def test_an_error_has_what_rays_has(engine: str) -> None:
    with pytest.raises(ray.exceptions.RayTaskError) as caught:
        ray.get(fail.remote("key", 2))
    error: Any = caught.value
    assert isinstance(error, KeyError)
    assert type(error.cause) is KeyError
    assert error.cause.args == ("key", 2)
    assert error.as_instanceof_cause() is error
    assert "raise KeyError" in error.traceback_str
    assert error.function_name == "fail"
    with pytest.raises(AttributeError, match="no attribute 'causes'"):
        _ = error.causes


def test_an_attribute_of_the_users_error_hides_that_of_ray(engine: str) -> None:
    class Odd(Exception):
        def __init__(self, cause: str) -> None:
            super().__init__(cause)
            self.cause = cause

        def __getattr__(self, name: str) -> str:
            if name != "asked":
                raise AttributeError(name)
            return "answered"

    @ray.remote
    def odd() -> None:
        raise Odd("the user's")

    with pytest.raises(Odd) as caught:
        ray.get(odd.remote())
    assert caught.value.cause == "the user's"
    assert caught.value.asked == "answered"
    assert caught.value.function_name == "odd"
    assert pickle.loads(pickle.dumps(flame.GetTimeoutError(1, 1, 1.0, ())))


def test_every_error_of_flame_is_caught_as_rays(engine: str) -> None:
    errors = ray.exceptions
    assert errors.RayError is flame.FlameError
    for name, value in vars(errors).items():
        if inspect.isclass(value) and issubclass(value, Exception):
            assert issubclass(value, errors.RayError), name
    assert issubclass(errors.GetTimeoutError, TimeoutError)
    assert issubclass(errors.ActorDiedError, errors.RayActorError)
    assert issubclass(errors.ObjectFreedError, errors.ObjectLostError)


# --- what there is --------------------------------------------------------------------------------


def test_the_context_and_the_resources_are_told(engine: str) -> None:
    context = ray.get_runtime_context()
    assert (context.get_task_id(), context.get_actor_id()) == (None, None)
    assert context.get()["node_id"] == ray.nodes()[0]["NodeID"]
    assert ray.cluster_resources()["CPU"] == ray.available_resources()["CPU"] == 2
    holder = Counter.options(num_cpus=1).remote()
    assert ray.get(holder.add.remote()) == 1
    if engine == "embedded":
        assert ray.available_resources()["CPU"] == 1
        (listed,) = state.list_actors(filters=[("state", "=", "ALIVE")])
        assert (listed.class_name, listed["class_name"]) == ("Counter", "Counter")
        assert state.list_workers()
    assert state.list_objects()
    assert state.list_tasks() == []
    assert state.summarize_tasks() == {"cluster": {"summary": {}}}
    assert len(state.list_nodes()) == 1


def test_the_rest_of_util_works(engine: str) -> None:
    assert inspect_serializability({"a": 1})[0]
    text = io.StringIO()
    assert not inspect_serializability(text_lock(), print_file=text)[0]
    assert "lock" in text.getvalue()
    assert [log_once(f"on {engine}"), log_once(f"on {engine}")] == [True, False]
    with pytest.raises(NotImplementedError, match="one machine"):
        ray.util.placement_group([{"CPU": 1}])


def text_lock() -> object:
    import threading

    return [threading.Lock()]


def test_joblib_runs_on_it_as_on_ray(engine: str) -> None:
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    from flame_remote.compat.ray.util.joblib import register_ray

    register_ray()
    with warnings.catch_warnings(), joblib.parallel_config(backend="ray"):
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(n) for n in (-1, -2)) == [1, 2]


def test_local_mode_runs_in_the_calling_thread() -> None:
    import threading

    with ray.init(local_mode=True):
        here = ray.remote(lambda: threading.get_ident())
        assert ray.get(here.remote()) == threading.get_ident()
