"""The decorator on functions, and remote functions."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import pickle
import sys
import types
import weakref
from collections.abc import Iterator
from typing import Any

import cloudpickle
import pytest

import flame_remote as flame
from flame_remote import RemoteFunction, _current


@pytest.fixture(autouse=True)
def inline() -> Iterator[None]:
    flame.init("inline", num_cpus=2, resources={"license": 1})
    yield
    flame.shutdown()


@flame.remote
def square(x: float, *, k: float = 1) -> float:
    """Multiply x by itself."""
    return x * x * k


@flame.remote(num_cpus=2, name="joined")
def join(*words: str) -> str:
    return " ".join(words)


@flame.remote
async def later(x: int) -> int:
    await asyncio.sleep(0)
    return x


@flame.remote
def factorial(n: int) -> int:
    return 1 if n == 0 else n * flame.get(factorial.remote(n - 1))


# --- calling --------------------------------------------------------------------------------------


def test_remote_returns_a_ref_of_the_result() -> None:
    assert flame.get(square.remote(3)) == 9
    assert flame.get(square.remote(x=3, k=2)) == 18
    assert flame.get(join.remote("a", "b")) == "a b"


def test_a_direct_call_is_a_local_call() -> None:
    assert square(3) == 9
    assert square.local(3, k=2) == 18
    coroutine = later(2)
    assert inspect.iscoroutine(coroutine)
    assert asyncio.run(coroutine) == 2


def test_an_async_function_gives_its_result_not_its_coroutine() -> None:
    assert flame.get(later.remote(3)) == 3


def test_a_builtin_function_can_be_remote() -> None:
    assert flame.get(flame.remote(len).remote("abc")) == 3
    assert flame.get(flame.remote(max).remote(1, 2)) == 2


def test_a_lambda_a_partial_and_a_callable_object_can_be_remote() -> None:
    class Adder:
        def __call__(self, x: int) -> int:
            return x + 1

    assert flame.get(flame.remote(lambda x: x + 1).remote(1)) == 2
    assert flame.get(flame.remote(functools.partial(pow, 2)).remote(3)) == 8
    assert flame.get(flame.remote(Adder()).remote(3)) == 4


def test_refs_are_replaced_by_their_values_and_refs_in_containers_stay() -> None:
    @flame.remote
    def kinds(a: Any, b: Any, *, c: Any) -> list[str]:
        return [type(a).__name__, type(b[0]).__name__, type(c).__name__]

    ref = square.remote(2.0)
    assert flame.get(kinds.remote(ref, [ref], c=ref)) == ["float", "ObjectRef", "float"]


def test_arguments_are_copied() -> None:
    @flame.remote
    def add_to(words: list[str]) -> list[str]:
        words.append("b")
        return words

    words = ["a"]
    assert flame.get(add_to.remote(words)) == ["a", "b"]
    assert words == ["a"]


def test_large_arguments_arrive_with_the_refs_among_them() -> None:
    @flame.remote
    def sizes(data: bytes, x: float, more: dict[str, bytes]) -> list[float]:
        return [len(data), x, len(more["a"])]

    data = bytes(300_000)
    assert flame.get(sizes.remote(data, square.remote(2), more={"a": data})) == [
        300_000,
        4,
        300_000,
    ]


# --- wrong calls ----------------------------------------------------------------------------------


def test_wrong_arguments_are_refused_at_the_call() -> None:
    with pytest.raises(TypeError) as caught:
        square.remote()
    assert str(caught.value) == (
        "square() missing 1 required positional argument: 'x' (signature: square(x, *, k=1))"
    )
    assert len(inspect.getinnerframes(caught.tb)) == 2  # this line and one of the package
    with pytest.raises(TypeError, match=r"square\(\) got an unexpected keyword argument 'z'"):
        square.options(num_cpus=2).remote(1, z=2)


def test_a_parameter_may_be_called_self() -> None:
    @flame.remote
    def function(self: int, args: int) -> int:
        return self + args

    assert flame.get(function.remote(self=1, args=2)) == 3


def test_what_can_never_be_met_is_refused_at_the_call() -> None:
    with pytest.raises(flame.UnschedulableError, match="square needs num_cpus=100"):
        square.options(num_cpus=100).remote(1)
    with pytest.raises(flame.UnschedulableError, match=r"init\(resources={'license': 2}\)"):
        square.options(resources={"license": 2}).remote(1)


def test_an_argument_that_cannot_travel_is_named() -> None:
    import threading

    with pytest.raises(
        flame.SerializationError, match=r"argument 1 \('x'\) of square\(\)"
    ) as caught:
        square.remote(threading.Lock())
    assert len(inspect.getinnerframes(caught.tb)) == 2  # this line and one of the package


def test_a_function_that_uses_what_cannot_travel_is_refused_at_the_call() -> None:
    import threading

    lock = threading.Lock()

    @flame.remote
    def locked() -> None:
        with lock:
            pass

    with pytest.raises(flame.SerializationError, match="the function locked"):
        locked.remote()


def test_a_ref_of_an_ended_session_is_refused_at_the_call() -> None:
    ref = square.remote(1)
    flame.shutdown()
    flame.init("inline")
    with pytest.raises(flame.SessionEndedError, match=r"an argument of square\(\)"):
        square.remote(ref)
    with pytest.raises(flame.SessionEndedError, match="inside the arguments"):
        join.options(num_cpus=1).remote([ref])


# --- decorating -----------------------------------------------------------------------------------


def test_a_remote_function_looks_like_the_function() -> None:
    assert square.__name__ == "square"
    assert square.__doc__ == "Multiply x by itself."
    assert square.__module__ == __name__
    assert list(inspect.signature(square).parameters) == ["x", "k"]
    assert inspect.unwrap(square)(2) == 4
    assert repr(square) == "<remote function square>"


def test_options_give_another_function_and_leave_this_one() -> None:
    other = square.options(num_cpus=2, name="other")
    assert flame.get(other.remote(2)) == 4
    assert "other" in repr(other.remote(2))
    assert "square" in repr(square.remote(2))


def test_unknown_options_are_refused_on_the_line_of_the_decorator() -> None:
    with pytest.raises(flame.InvalidOptionError, match=r"did you mean 'num_cpus'"):
        flame.remote(num_cpu=2)
    with pytest.raises(flame.InvalidOptionError, match="the function square has no option"):
        square.options(max_concurrency=2)
    with pytest.raises(flame.InvalidOptionError, match="no option 'max_concurrency'"):
        flame.remote(max_concurrency=2)(print)


@pytest.mark.parametrize("target", [3, None, "square", [1]])
def test_what_is_neither_function_nor_class_is_refused(target: Any) -> None:
    with pytest.raises(TypeError, match=r"for functions and classes, not"):
        flame.remote(target)


def test_decorating_twice_is_refused() -> None:
    with pytest.raises(TypeError, match=r"square is remote already"):
        flame.remote(square)


def test_decorating_a_method_is_refused_when_it_is_used() -> None:
    class C:
        @flame.remote
        def method(self) -> None: ...

        @staticmethod
        @flame.remote
        def static(x: int) -> int:
            return x

        tool = square

    with pytest.raises(TypeError, match=r"C.method is a method.*decorate the class C"):
        C().method  # noqa: B018
    assert flame.get(C().static.remote(2)) == 2
    assert flame.get(C().tool.remote(2)) == 4


def test_decorating_a_staticmethod_object_is_refused() -> None:
    with pytest.raises(TypeError, match="put @staticmethod above"):
        flame.remote(staticmethod(print))


# --- redefinition, recursion, closures ------------------------------------------------------------


def test_a_recursive_function_calls_itself_remotely() -> None:
    assert flame.get(factorial.remote(5)) == 120


def test_a_recursive_function_of_a_script_calls_itself_remotely() -> None:
    script = {"flame": flame, "__name__": "__main__"}
    exec(
        "@flame.remote\n"
        "def fib(n, *, step=1):\n"
        "    if n < 2: return n\n"
        "    return sum(flame.get([fib.remote(n - step), fib.remote(n - 2)]))\n"
        "@flame.remote\n"
        "def even(n): return n == 0 or flame.get(odd.remote(n - 1))\n"
        "@flame.remote\n"
        "def odd(n): return n != 0 and flame.get(even.remote(n - 1))\n",
        script,
    )
    assert flame.get(script["fib"].remote(7)) == 13
    assert flame.get(script["even"].remote(7)) is False


def test_redefining_a_function_takes_effect() -> None:
    def define(value: int) -> RemoteFunction[[], int]:
        @flame.remote
        def constant() -> int:
            return value

        return constant

    assert flame.get([define(1).remote(), define(2).remote()]) == [1, 2]


def test_a_function_may_close_over_names_defined_later() -> None:
    @flame.remote
    def outer() -> int:
        return inner() + 1

    def inner() -> int:
        return 1

    assert flame.get(outer.remote()) == 2


def test_a_function_may_close_over_refs_and_keeps_their_values() -> None:
    def define() -> RemoteFunction[[], float]:
        ref = square.remote(3)

        @flame.remote
        def uses_ref() -> float:
            return flame.get(ref) + 1

        return uses_ref

    uses_ref = define()
    for _ in range(3):
        gc.collect()
        assert flame.get(uses_ref.remote()) == 10


def test_a_task_may_define_and_return_remote_functions() -> None:
    @flame.remote
    def make(n: int) -> RemoteFunction[[int], int]:
        @flame.remote
        def add(x: int) -> int:
            return x + n

        return add

    assert flame.get(flame.get(make.remote(3)).remote(4)) == 7


def test_a_remote_function_can_be_an_argument() -> None:
    @flame.remote
    def apply(function: Any, x: int) -> Any:
        return flame.get(function.remote(x))

    assert flame.get(apply.remote(square, 3)) == 9
    assert flame.get(apply.remote(square.options(num_cpus=2), 3)) == 9
    assert flame.get(apply.remote(flame.remote(lambda x: -x), 3)) == -3


# --- pickling -------------------------------------------------------------------------------------


def test_a_function_of_a_module_pickles_by_name() -> None:
    assert pickle.loads(pickle.dumps(square)) is square
    assert pickle.loads(cloudpickle.dumps(square)) is square
    again = pickle.loads(pickle.dumps(square.options(name="other")))
    assert again.__wrapped__ is square.__wrapped__
    assert again._options.name == "other"


def test_a_local_function_pickles_by_value_and_stays_what_it_is() -> None:
    @flame.remote(num_cpus=2)
    def local(n: int, *, k: int = 1) -> Any:
        """Doc."""
        return local if n == 0 else n + k

    again = pickle.loads(cloudpickle.dumps(local))
    assert again(0) is again
    assert (again.__name__, again.__doc__, again._options) == ("local", "Doc.", local._options)
    assert again(1) == 2
    with pytest.raises(TypeError, match=r"signature: local\(n, \*, k=1\)"):
        again.remote()
    assert flame.get(again.remote(1, k=2)) == 3


def test_a_function_of_a_module_that_cannot_be_imported_travels_by_value() -> None:
    module = types.ModuleType("made_by_hand")
    exec("def double(x): return x * factor\nfactor = 2", vars(module))
    sys.modules["made_by_hand"] = module
    try:
        double = flame.remote(module.double)
        del sys.modules["made_by_hand"]
        assert flame.get(double.remote(4)) == 8
    finally:
        sys.modules.pop("made_by_hand", None)


# --- life time ------------------------------------------------------------------------------------


def test_a_function_that_nobody_holds_leaves_with_its_service() -> None:
    @flame.remote
    def local() -> int:
        return 1

    assert flame.get(local.remote()) == 1
    service, watched = local._service(), weakref.ref(local)
    assert service is not None
    watched_service = weakref.ref(service)
    del local, service
    gc.collect()
    assert watched() is None
    assert watched_service() is None


def test_a_function_works_in_session_after_session() -> None:
    for _ in range(3):
        assert flame.get(square.remote(3)) == 9
        before = _current.engine
        flame.shutdown()
        assert square._service() is None
        flame.init("inline")
        assert _current.engine is not before
