"""Actors that are found by name, and that live on without handles."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

import flame_remote as flame

from ..conftest import wait_until
from .helpers import gate
from .local_engines import engine, nothing_is_left_behind

__all__ = ["engine", "nothing_is_left_behind"]
pytestmark = pytest.mark.usefixtures("engine")


@flame.remote
class Counter:
    """Counts."""

    def __init__(self, start: int = 0) -> None:
        if start < 0:
            raise ValueError("too low")
        self.value = start

    def add(self, n: int = 1) -> int:
        self.value += n
        return self.value


@flame.remote
def add_to(name: str) -> int:
    total: int = flame.get(flame.get_actor(name).add.remote())
    return total


@flame.remote
def get_or_create(name: str) -> tuple[int, Any]:
    handle = Counter.options(name=name, get_if_exists=True).remote(100)
    return flame.get(handle.add.remote()), handle


def test_a_named_actor_is_found_here_and_in_tasks() -> None:
    counter = Counter.options(name="shared").remote(10)
    found = flame.get_actor("shared")
    assert found == counter
    assert [flame.get(found.add.remote()), flame.get(add_to.remote("shared"))] == [11, 12]
    assert repr(found) == repr(counter)
    assert found.__doc__ == "Counts."


def test_a_second_actor_of_a_name_is_refused() -> None:
    counter = Counter.options(name="only").remote()
    with pytest.raises(
        flame.ActorAlreadyExistsError, match=r"'only'.*get_if_exists=True"
    ) as caught:
        Counter.options(name="only").remote()
    assert isinstance(caught.value, ValueError)
    assert flame.get(counter.add.remote()) == 1


def test_a_task_is_refused_a_second_actor_of_a_name_too() -> None:
    @flame.remote
    def make() -> None:
        Counter.options(name="only here").remote()

    counter = Counter.options(name="only here").remote()
    with pytest.raises(flame.ActorAlreadyExistsError):
        flame.get(make.remote())
    del counter


def test_an_unknown_name_is_an_error_that_names_what_is_near() -> None:
    counter = Counter.options(name="counter").remote()
    with pytest.raises(flame.ActorNotFoundError, match="near it there are 'counter'") as caught:
        flame.get_actor("countr")
    assert isinstance(caught.value, ValueError)
    with pytest.raises(flame.ActorNotFoundError, match="it has ended, or was never made"):
        flame.get_actor("something else")
    with pytest.raises(flame.ActorNotFoundError, match="'counter'"):
        flame.get(add_to.remote("countr"))
    del counter


def test_namespaces_keep_equal_names_apart() -> None:
    one = Counter.options(name="twin", namespace="red").remote(1)
    two = Counter.options(name="twin", namespace="blue").remote(2)
    assert flame.get_actor("twin", "red") == one
    assert flame.get_actor("twin", namespace="blue") == two
    with pytest.raises(flame.ActorNotFoundError, match="'twin' in the namespace 'blue'"):
        flame.get_actor("twin")
    found = flame.state.actors(name="twin", namespace="red")
    assert [info.id in repr(one) for info in found] == [True]


@pytest.mark.parametrize("option", [{"namespace": "n"}, {"get_if_exists": True},
                                    {"lifetime": "detached"}])  # fmt: skip
def test_options_about_a_name_need_one(option: dict[str, Any]) -> None:
    with pytest.raises(flame.InvalidOptionError, match=f"{next(iter(option))}= but no name="):
        Counter.options(**option).remote()


def test_get_if_exists_makes_an_actor_once() -> None:
    asked = Counter.options(name="once", get_if_exists=True)
    first = asked.remote(5)
    assert asked.remote(70) == first
    assert flame.get(first.add.remote()) == 6


def test_tasks_that_race_for_a_name_get_one_and_the_same_actor() -> None:
    refs = [get_or_create.remote("raced") for _ in range(20)]
    values, handles = zip(*flame.get(refs), strict=True)
    assert sorted(values) == list(range(101, 121))
    assert len(set(handles)) == 1


def test_threads_that_race_for_a_name_get_one_and_the_same_actor() -> None:
    handles: list[Any] = []

    def make() -> None:
        handles.append(Counter.options(name="threads", get_if_exists=True).remote())

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(handles)) == 1


def test_a_name_is_free_when_the_last_handle_is_gone() -> None:
    counter = Counter.options(name="brief").remote()
    assert flame.get(counter.add.remote()) == 1
    del counter
    gc.collect()
    with pytest.raises(flame.ActorNotFoundError):
        flame.get_actor("brief")
    again = Counter.options(name="brief").remote(7)
    assert flame.get(again.add.remote()) == 8


def closing_over(handle: Any) -> Any:
    @flame.remote
    def use() -> int:
        return flame.get(handle.add.remote())  # type: ignore[no-any-return]

    flame.get(use.remote())
    return use


def returned_again(handle: Any) -> Any:
    @flame.remote
    def give_back(handles: list[Any]) -> list[list[Any]]:
        return [handles]

    ref = give_back.remote([handle])
    flame.wait([ref])
    return ref


def kept_by_another(handle: Any) -> Any:
    @flame.remote
    class Keeper:
        def keep(self, handles: dict[str, Any]) -> int:
            self.handles = handles
            return flame.get(handles["kept"].add.remote())  # type: ignore[no-any-return]

    keeper = Keeper.remote()
    flame.get(keeper.keep.remote({"kept": handle}))
    return keeper


@pytest.mark.parametrize(
    "place",
    [lambda handle: flame.put([{"in": handle}]), closing_over, returned_again, kept_by_another],
    ids=["stored", "closed over", "returned again", "kept by an actor"],
)
def test_an_actor_lives_exactly_as_long_as_its_handle_can_be_reached(place: Any) -> None:
    counter = Counter.options(name="reached").remote()
    holder = place(counter)
    del counter
    gc.collect()
    assert flame.get(flame.get_actor("reached").add.remote()) >= 1
    del holder
    gc.collect()

    def is_gone() -> bool:
        try:
            flame.get_actor("reached")
        except flame.ActorNotFoundError:
            return True
        return False

    assert wait_until(is_gone)


def test_a_name_is_free_when_its_actor_was_killed() -> None:
    counter = Counter.options(name="killed").remote()
    flame.kill(counter)
    with pytest.raises(flame.ActorNotFoundError):
        flame.get_actor("killed")
    assert flame.get(Counter.options(name="killed").remote(1).add.remote()) == 2


def test_a_name_is_free_when_its_actor_could_not_be_constructed() -> None:
    counter = Counter.options(name="low").remote(-1)
    with pytest.raises(ValueError, match="too low"):
        flame.get(counter.add.remote())
    assert flame.get(Counter.options(name="low").remote(1).add.remote()) == 2


def test_a_name_is_free_when_an_argument_of_the_constructor_has_failed() -> None:
    @flame.remote
    def fail() -> int:
        raise ValueError("no start")

    failed = fail.remote()
    with pytest.raises(ValueError, match="no start"):
        flame.get(failed)

    @flame.remote
    def make(failed: list[Any]) -> Any:
        handle = Counter.options(name="late", lifetime="detached").remote(failed[0])
        with pytest.raises(ValueError, match="no start"):
            flame.get(handle.add.remote())
        return handle

    counter = Counter.options(name="late", lifetime="detached").remote(failed)
    with pytest.raises(ValueError, match="no start"):
        flame.get(counter.add.remote())
    assert flame.get(make.remote([failed])) != counter
    with pytest.raises(flame.ActorNotFoundError):
        flame.get_actor("late")


def test_what_a_task_has_found_outlives_other_handles() -> None:
    @flame.remote
    class Keeper:
        def take(self, name: str) -> None:
            self.handle = flame.get_actor(name)

        def use(self) -> int:
            total: int = flame.get(self.handle.add.remote())
            return total

    counter, keeper = Counter.options(name="kept").remote(1), Keeper.remote()
    flame.get(keeper.take.remote("kept"))
    del counter
    gc.collect()
    assert flame.get(keeper.use.remote()) == 2
    assert flame.get(add_to.remote("kept")) == 3
    del keeper
    gc.collect()
    assert flame.get([]) == []


def test_a_detached_actor_lives_on_without_handles_until_it_is_killed() -> None:
    flame.get(Counter.options(name="alone", lifetime="detached").remote(1).add.remote())
    gc.collect()
    assert flame.get(add_to.remote("alone")) == 3
    assert [info.namespace for info in flame.state.actors(name="alone")] == ["default"]
    flame.kill(flame.get_actor("alone"))
    assert flame.state.actors(name="alone") == []
    with pytest.raises(flame.ActorNotFoundError):
        flame.get_actor("alone")


def test_a_task_can_leave_a_detached_actor_behind() -> None:
    @flame.remote
    def make() -> None:
        Counter.options(name="left", lifetime="detached").remote(1)

    flame.get(make.remote())
    counter = flame.get_actor("left")
    assert flame.get(counter.add.remote()) == 2
    flame.kill(counter)


def test_a_named_actor_is_found_while_its_constructor_waits() -> None:
    held = gate()
    counter = Counter.options(name="waiting").remote(held.wait.remote(4))
    ref = flame.get_actor("waiting").add.remote()
    flame.get(held.open.remote())
    assert flame.get(ref) == 5
    del counter


def test_a_typed_actor_can_have_a_name() -> None:
    class Typed(flame.Actor):
        @flame.method
        def hello(self) -> str:
            return "hello"

    typed = Typed.options(name="typed").remote()
    assert flame.get(flame.get_actor("typed").hello.remote()) == "hello"
    del typed


def test_names_are_checked() -> None:
    with pytest.raises(TypeError, match="name must be a string, not int"):
        flame.get_actor(3)  # type: ignore[arg-type]
    with pytest.raises(flame.InvalidOptionError, match="lifetime must be"):
        Counter.options(lifetime="for ever")
    with pytest.raises(TypeError, match="get_if_exists must be True or False"):
        Counter.options(name="x", get_if_exists=1)  # type: ignore[typeddict-item]
