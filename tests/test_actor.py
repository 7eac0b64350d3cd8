"""The decorator on classes, handles, and classes that derive from Actor."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cloudpickle
import pytest

import flame_remote as flame
from flame_remote import _refs


@pytest.fixture(autouse=True)
def inline() -> Iterator[None]:
    flame.init("inline", num_cpus=2)
    yield
    flame.shutdown()


class Base:
    def __init__(self, start: int = 0, *, step: int = 1) -> None:
        self.value = start
        self.step = step

    def add(self, n: int, times: int = 1) -> int:
        """Add n to the value."""
        self.value += n * times * self.step
        return self.value

    @staticmethod
    def twice(x: int) -> int:
        return 2 * x

    @classmethod
    def name(cls) -> str:
        return cls.__name__

    @property
    def half(self) -> float:
        return self.value / 2

    def _hidden(self) -> int:
        return -1


@flame.remote
class Counter(Base):
    """Counts."""

    LIMIT = 100

    def limit(self) -> tuple[int, bool]:
        return Counter.LIMIT, isinstance(self, Counter)


class Typed(flame.Actor, num_cpus=1):
    def __init__(self, start: int = 0) -> None:
        self.value = start

    @flame.method
    def add(self, n: int) -> int:
        self.value += n
        return self.value

    @flame.method
    async def later(self, n: int) -> int:
        return self.value + n


class Derived(Typed, name="derived"):
    @flame.method
    def double(self) -> int:
        return self.add(self.value)


@flame.remote(max_concurrency=3)
class Decorated(flame.Actor):
    def one(self) -> int:
        return 1


# --- calling --------------------------------------------------------------------------------------


def test_an_instance_keeps_its_state_and_its_calls_run_in_order() -> None:
    counter = Counter.remote(10, step=2)
    refs = [counter.add.remote(1), counter.add.remote(n=1, times=2), counter.add.remote(0)]
    assert flame.get(refs) == [12, 16, 16]


def test_static_and_class_methods_and_hidden_ones_can_be_called() -> None:
    counter = Counter.remote()
    assert flame.get(counter.twice.remote(4)) == 8
    assert flame.get(counter.name.remote()) == "Counter"
    assert flame.get(counter._hidden.remote()) == -1


def test_a_direct_call_of_the_class_makes_a_local_instance() -> None:
    here = Counter(3)
    assert here.add(1) == 4
    assert isinstance(here, Counter)
    assert not isinstance(Base(), Counter)
    assert Counter.LIMIT == 100
    assert here.limit() == (100, True)


def test_the_class_is_what_its_own_methods_expect() -> None:
    assert flame.get(Counter.remote().limit.remote()) == (100, True)


def test_a_ref_stands_for_its_value_in_constructors_and_methods() -> None:
    start = flame.put(5)
    counter = Counter.remote(start)
    assert flame.get(counter.add.remote(counter.add.remote(1))) == 12


# --- wrong calls ----------------------------------------------------------------------------------


def test_wrong_arguments_are_refused_at_the_call() -> None:
    with pytest.raises(TypeError) as caught:
        Counter.remote(1, 2)
    assert "(signature: Counter(start=0, *, step=1))" in str(caught.value)
    counter = Counter.remote()
    with pytest.raises(TypeError) as caught:
        counter.add.remote()
    assert str(caught.value) == (
        "Counter.add() missing 1 required positional argument: 'n' "
        "(signature: Counter.add(n, times=1))"
    )
    with pytest.raises(TypeError, match=r"Counter.twice\(\) got an unexpected"):
        counter.twice.remote(1, y=2)


def test_a_method_that_does_not_exist_is_refused_with_the_nearest_and_the_list() -> None:
    counter = Counter.remote()
    with pytest.raises(AttributeError) as caught:
        counter.ad  # noqa: B018
    assert str(caught.value) == (
        "Counter has no remote method 'ad' (did you mean 'add'?); methods: add, limit, name, twice"
    )
    with pytest.raises(AttributeError, match="no remote method 'half'"):
        counter.half  # noqa: B018
    assert not hasattr(counter, "__len__")


def test_calling_a_method_of_a_handle_directly_says_what_to_do() -> None:
    counter = Counter.remote()
    with pytest.raises(TypeError, match=r"use handle.add.remote\(...\)"):
        counter.add(1)
    with pytest.raises(TypeError, match=r"use handle.method.remote\(...\)"):
        counter(1)


def test_subclassing_a_remote_class_is_refused_and_says_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"subclass the undecorated class, Counter.__wrapped__"):

        class Sub(Counter):
            pass

    class Right(Counter.__wrapped__):
        def add(self, n: int, times: int = 1) -> Any:
            return super().add(-n, times)

    assert flame.get(flame.remote(Right).remote(3).add.remote(1)) == 2


def test_options_are_checked_and_leave_the_class_as_it_is() -> None:
    with pytest.raises(flame.InvalidOptionError, match="the class Counter has no option 'max_re"):
        Counter.options(max_rests=3)
    with pytest.raises(flame.UnschedulableError, match="Counter needs num_cpus=3"):
        Counter.options(num_cpus=3).remote()
    named = Counter.options(name="tally").remote()
    assert "tally" in repr(named)
    assert "tally.add" in repr(named.add.remote(1))
    assert "Counter" in repr(Counter.remote())


def test_a_method_can_have_another_name_for_one_call() -> None:
    counter = Counter.remote()
    assert "adding" in repr(counter.add.options(name="adding").remote(1))
    with pytest.raises(flame.InvalidOptionError, match=r"the method Counter.add has no option"):
        counter.add.options(num_cpus=1)


def test_a_class_with_an_async_method_may_run_many_calls_at_once() -> None:
    @flame.remote
    class Server:
        async def serve(self, n: int) -> int:
            return n

    @flame.remote(max_concurrency=2)
    class Limited:
        async def serve(self) -> None: ...

    assert flame.get(Server.remote().serve.remote(3)) == 3
    assert Server._final_options().max_concurrency == 1000
    assert Limited._final_options().max_concurrency == 2
    assert Counter._final_options().max_concurrency == 1


# --- handles --------------------------------------------------------------------------------------


def test_a_handle_shows_its_methods_and_their_documents() -> None:
    counter = Counter.remote()
    assert {"add", "limit", "name", "twice"} <= set(dir(counter))
    assert counter.add.__doc__ == "Add n to the value."
    assert counter.__doc__ == "Counts."
    assert repr(counter.add) == "<remote method Counter.add>"


def test_handles_are_equal_if_they_stand_for_the_same_instance() -> None:
    counter = Counter.remote()
    assert copy.copy(counter) == counter == copy.deepcopy(counter)
    assert counter != Counter.remote()
    assert len({counter, copy.copy(counter), Counter.remote()}) == 2


def test_a_handle_can_be_passed_to_a_task_and_comes_back_equal() -> None:
    @flame.remote
    def feed(handle: Any, more: dict[str, Any]) -> Any:
        assert handle == more["handle"]
        flame.get(more["handle"].add.remote(2))
        return handle

    counter = Counter.remote(1)
    again = flame.get(feed.remote(counter, {"handle": counter}))
    assert again == counter
    assert flame.get(again.add.remote(1)) == 4


def test_a_method_of_a_handle_can_be_passed_too() -> None:
    @flame.remote
    def call(method: Any) -> Any:
        return flame.get(method.remote(2))

    assert flame.get(call.remote(Counter.remote(1).add)) == 3


def test_a_pickled_handle_carries_plain_data_and_the_ref() -> None:
    counter = Counter.remote()
    with _refs.collecting_refs() as refs:
        data = pickle.dumps(counter)
    assert refs == [counter._flame_ref]
    assert len(data) < 2_000


def test_using_methods_makes_no_cycle_that_keeps_the_instance_alive() -> None:
    import weakref

    counter = Counter.remote()
    counter.add.remote(1)
    ref = weakref.ref(counter._flame_ref)
    del counter
    assert ref() is None


def test_kill_ends_an_actor_and_refuses_anything_else() -> None:
    counter = Counter.remote()
    flame.kill(counter)
    with pytest.raises(flame.ActorDiedError):
        flame.get(counter.add.remote(1))
    with pytest.raises(TypeError, match=r"not ObjectRef.*use cancel"):
        flame.kill(flame.put(1))
    with pytest.raises(TypeError, match="kill\\(\\) takes an actor's handle, not int 3"):
        flame.kill(3)


def test_a_handle_of_an_ended_session_is_refused() -> None:
    counter = Counter.remote()
    counter.add.remote(1)
    flame.shutdown()
    with pytest.raises(flame.SessionEndedError, match="the actor Counter"):
        counter.add.remote(1)
    flame.init("inline")
    with pytest.raises(flame.SessionEndedError, match="the actor Counter"):
        counter.add.remote(1)
    with pytest.raises(flame.SessionEndedError, match="an actor handle"):
        flame.kill(counter)


# --- pickling of classes --------------------------------------------------------------------------


def test_a_class_of_a_module_pickles_by_name() -> None:
    assert pickle.loads(pickle.dumps(Counter)) is Counter
    again = pickle.loads(pickle.dumps(Counter.options(name="other")))
    assert again.__wrapped__ is Counter.__wrapped__


def test_a_class_of_a_script_travels_by_value_and_may_name_itself() -> None:
    script = {"flame": flame, "__name__": "__main__"}
    exec(
        "@flame.remote\n"
        "class Node:\n"
        "    'Doc.'\n"
        "    def __init__(self, depth=0):\n"
        "        self.child = Node.remote(depth - 1) if depth else None\n"
        "    def depth(self):\n"
        "        return 1 + flame.get(self.child.depth.remote()) if self.child else 0\n",
        script,
    )
    made: Any = script["Node"]
    assert flame.get(made.remote(3).depth.remote()) == 3
    again = pickle.loads(cloudpickle.dumps(made))
    assert (again.__name__, again.__doc__, again._facts) == ("Node", "Doc.", made._facts)
    assert flame.get(again.remote(depth=1).depth.remote()) == 1


# --- Actor ----------------------------------------------------------------------------------------


def test_a_subclass_of_actor_is_remote_and_stays_a_class() -> None:
    assert flame.get(Typed.remote(1).add.remote(n=2)) == 3
    assert flame.get(Typed.remote(1).later.remote(2)) == 3
    assert Typed(1).add(2) == 3
    assert flame.get(Typed.options(num_cpus=2).remote(start=4).add.remote(1)) == 5
    assert pickle.loads(pickle.dumps(Typed(4))).value == 4


def test_a_subclass_of_a_subclass_inherits_options_and_methods() -> None:
    assert Derived._flame_options.num_cpus == 1
    assert Typed._flame_options.name == ""
    assert flame.get(Typed.remote().add.remote(1)) == 1
    derived = Derived.remote(3)
    assert flame.get(derived.double.remote()) == 6
    assert "derived" in repr(derived)


def test_decorating_a_subclass_of_actor_sets_its_options_and_returns_it() -> None:
    assert inspect.isclass(Decorated)
    assert Decorated._flame_options.max_concurrency == 3
    assert flame.get(Decorated.remote().one.remote()) == 1


def test_options_of_a_subclass_of_actor_are_checked_where_it_is_defined() -> None:
    with pytest.raises(flame.InvalidOptionError, match="the class Wrong has no option 'num_cpu'"):

        class Wrong(flame.Actor, num_cpu=1):
            pass


def test_actor_itself_is_only_a_base() -> None:
    with pytest.raises(TypeError, match="subclass it"):
        flame.Actor.remote()


def test_a_dataclass_can_be_an_actor() -> None:
    @dataclass
    class Settings(flame.Actor):
        path: str
        depth: int = 2

        @flame.method
        def show(self) -> str:
            return self.path * self.depth

    assert flame.get(Settings.remote("a", depth=3).show.remote()) == "aaa"
    with pytest.raises(TypeError, match=r"signature: Settings\(path, depth=2\)"):
        Settings.remote()


def test_marking_a_method_leaves_it_as_it_is() -> None:
    def method(self: object) -> int:
        return 1

    assert flame.method(method) is method
    with pytest.raises(TypeError, match=r"@flame.method is for methods, not int"):
        flame.method(3)
