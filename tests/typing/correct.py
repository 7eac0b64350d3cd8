"""Uses that are correct: no type checker may report anything here. Checked, never run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from typing_extensions import assert_type

import flame_remote as flame
from flame_remote import ObjectFuture, ObjectRef

# --- functions ------------------------------------------------------------------------------------


@flame.remote
def square(x: float) -> float:
    return x * x


@flame.remote
def scale(x: float, factor: float = 2.0, *, offset: int = 0, label: str = "") -> str:
    return f"{label}{x * factor + offset}"


@flame.remote(num_cpus=2, max_retries=0, name="joined")
def join(words: list[str], separator: str = " ") -> str:
    return separator.join(words)


@flame.remote(num_gpus=0.5, resources={"license": 1})
def total(*numbers: int, **named: int) -> int:
    return sum(numbers) + sum(named.values())


@flame.remote
async def fetch(url: str, tries: int = 3) -> bytes:
    return url.encode() * tries


@flame.remote
def nothing() -> None: ...


@flame.remote
def untyped(a, b=1):  # type: ignore[no-untyped-def]
    return a


@flame.remote
def positional(a: int, b: str, /, c: bytes) -> dict[str, int]:
    return {b: a + len(c)}


@flame.remote
def first(pairs: list[tuple[str, int]], at_least: int | None = None) -> tuple[str, int] | None:
    return pairs[0] if pairs else None


def plain(x: int, y: str = "") -> list[str]:
    return [y] * x


def use_functions() -> None:
    assert_type(square.remote(3), ObjectRef[float])
    assert_type(square.remote(x=3.5), ObjectRef[float])
    assert_type(scale.remote(1.0), ObjectRef[str])
    assert_type(scale.remote(1.0, 2.0), ObjectRef[str])
    assert_type(scale.remote(1.0, factor=3), ObjectRef[str])
    assert_type(scale.remote(1, offset=2, label="a"), ObjectRef[str])
    assert_type(scale.remote(factor=1, x=2), ObjectRef[str])
    assert_type(join.remote(["a"], separator=","), ObjectRef[str])
    assert_type(total.remote(), ObjectRef[int])
    assert_type(total.remote(1, 2, 3, four=4), ObjectRef[int])
    assert_type(fetch.remote("url"), ObjectRef[bytes])
    assert_type(fetch.remote("url", tries=1), ObjectRef[bytes])
    assert_type(nothing.remote(), ObjectRef[None])
    assert_type(positional.remote(1, "b", c=b"c"), ObjectRef[dict[str, int]])
    assert_type(first.remote([("a", 1)], at_least=None), ObjectRef[tuple[str, int] | None])
    untyped.remote(1)
    untyped.remote(1, b=2)

    # Direct calls are local calls.
    assert_type(square(3), float)
    assert_type(square.local(3), float)
    assert_type(scale(1.0, label="b"), str)

    # Options.
    assert_type(square.options(num_cpus=0.5).remote(2), ObjectRef[float])
    assert_type(scale.options(name="s", max_retries=-1).remote(1, label="x"), ObjectRef[str])
    square.options(resources={"license": 0.5}, num_gpus=1)

    # The call form.
    remote_plain = flame.remote(plain)
    assert_type(remote_plain.remote(1, y="a"), ObjectRef[list[str]])
    assert_type(flame.remote(plain, num_cpus=2).remote(1), ObjectRef[list[str]])
    assert_type(flame.remote(num_cpus=2)(plain).remote(1), ObjectRef[list[str]])
    assert_type(flame.remote(fetch_twice).remote("a"), ObjectRef[int])
    assert_type(flame.remote(lambda: 3).remote(), ObjectRef[int])


async def fetch_twice(url: str) -> int:
    data = await fetch.remote(url)
    assert_type(data, bytes)
    assert_type(await square.remote(2), float)
    return len(data)


# --- refs as arguments ----------------------------------------------------------------------------


def use_refs() -> None:
    x = square.remote(1)
    assert_type(square.remote(x), ObjectRef[float])
    assert_type(scale.remote(x, 2.0), ObjectRef[str])
    assert_type(scale.remote(x, label="a"), ObjectRef[str])
    assert_type(scale.remote(2.0, x), ObjectRef[str])
    assert_type(scale.remote(x, x, offset=1), ObjectRef[str])
    assert_type(positional.remote(1, scale.remote(1.0), b"c"), ObjectRef[dict[str, int]])
    assert_type(positional.remote(1, "b", fetch.remote("u")), ObjectRef[dict[str, int]])
    assert_type(square.options(num_cpus=2).remote(x), ObjectRef[float])
    # By keyword, a proxy: it has the type of the value.
    assert_type(x.proxy(), float)
    assert_type(square.remote(x=x.proxy()), ObjectRef[float])
    stored = flame.put([1, 2, 3])
    assert_type(stored, ObjectRef[list[int]])
    assert_type(join.remote(flame.put(["a"])), ObjectRef[str])


# --- get, wait and the rest -----------------------------------------------------------------------


def numbers() -> Iterator[ObjectRef[float]]:
    yield square.remote(1)


def use_verbs(several: tuple[ObjectRef[int], ...]) -> None:
    x, s = square.remote(1), scale.remote(1.0)
    assert_type(flame.get(x), float)
    assert_type(flame.get(x, timeout=1.5), float)
    assert_type(flame.get([x, x]), list[float])
    assert_type(flame.get([square.remote(i) for i in range(3)], timeout=None), list[float])
    assert_type(flame.get(square.remote(i) for i in range(3)), list[float])
    assert_type(flame.get(numbers()), list[float])
    assert_type(flame.get({x}), list[float])
    assert_type(flame.get((x,)), tuple[float])
    assert_type(flame.get((x, s)), tuple[float, str])
    assert_type(flame.get((x, s, total.remote())), tuple[float, str, int])
    assert_type(flame.get((x, s, total.remote(), nothing.remote())), tuple[float, str, int, None])
    assert_type(flame.get(several), tuple[int, ...])
    assert_type(flame.get({"a": x, "b": x}), dict[str, float])
    assert_type(flame.get(nothing.remote()), None)
    value, text = flame.get((x, s))
    assert_type(value + 1, float)
    assert_type(text.upper(), str)

    ready, rest = flame.wait([x, x], num_returns=1, timeout=0.5)
    assert_type(ready, list[ObjectRef[float]])
    assert_type(rest, list[ObjectRef[float]])
    flame.wait({s})
    assert_type(flame.cancel(x), bool)
    flame.cancel(x, force=True)

    assert_type(x.get(), float)
    assert_type(x.get(timeout=2), float)
    assert_type(x.result(1.0), float)
    assert_type(x.done(), bool)
    assert_type(x.exception(), BaseException | None)
    assert_type(x.cancel(), bool)
    assert_type(x.future().result(), float)
    x.add_done_callback(lambda ref: print(ref.get()))
    future: ObjectFuture[float] = x
    refs: dict[ObjectRef[float], int] = {x: 1, future: 2}
    assert_type(refs[x], int)


def use_session() -> None:
    with flame.init(num_cpus=2, num_gpus=0, resources={"license": 2}) as session:
        assert_type(session.resources["CPU"], float)
    flame.init("inline", store_bytes=1 << 20, ignore_reinit_error=True).close()
    assert_type(flame.is_initialized(), bool)
    flame.shutdown()


def use_errors() -> str:
    try:
        return flame.get(scale.remote(1.0))
    except flame.GetTimeoutError as error:
        return f"{error.not_ready} of {error.total}"
    except flame.TaskError as error:
        return error.remote_traceback


# --- classes --------------------------------------------------------------------------------------


class Counter(flame.Actor):
    def __init__(self, start: int = 0, *, step: int = 1) -> None:
        self.value = start
        self.step = step

    @flame.method
    def add(self, n: int, times: int = 1, *, note: str = "") -> int:
        self.value += n * times * self.step
        return self.value

    @flame.method
    def names(self) -> list[str]:
        return []

    @flame.method
    async def later(self, seconds: float) -> str:
        return f"{seconds}"

    @flame.method
    def reset(self) -> None:
        self.value = 0

    def local_only(self) -> int:
        return self.add(1) + self.value


class Tally(Counter, num_cpus=0.5, concurrency_groups={"sums": 2}, replicas=(1, 2)):
    @flame.method(concurrency_group="sums")
    def double(self) -> int:
        return self.add(self.value)

    @flame.method(num_returns=1)
    async def soon(self, n: int) -> float:
        return n / 2


@dataclass
class Settings(flame.Actor):
    path: str
    depth: int = 0

    @flame.method
    def show(self) -> str:
        return self.path * self.depth


def use_actors() -> None:
    counter = Counter.remote(10, step=2)
    assert_type(counter, Counter)
    assert_type(counter.add.remote(1), ObjectRef[int])
    assert_type(counter.add.remote(1, times=2), ObjectRef[int])
    assert_type(counter.add.remote(n=1, note="a"), ObjectRef[int])
    assert_type(counter.names.remote(), ObjectRef[list[str]])
    assert_type(counter.later.remote(1.5), ObjectRef[str])
    assert_type(counter.reset.remote(), ObjectRef[None])
    assert_type(counter.add.remote(counter.add.remote(1)), ObjectRef[int])
    assert_type(counter.add.remote(1, total.remote(2)), ObjectRef[int])
    assert_type(counter.add.options(name="adding").remote(1), ObjectRef[int])
    assert_type(flame.get([counter.add.remote(i) for i in range(3)]), list[int])
    flame.kill(counter)

    assert_type(Counter.options(num_cpus=1, name="c").remote(start=3).add.remote(1), ObjectRef[int])
    assert_type(Tally.remote().double.remote(), ObjectRef[int])
    assert_type(Tally.remote().soon.remote(3), ObjectRef[float])
    assert_type(Tally.remote(3).add.remote(2), ObjectRef[int])
    assert_type(Settings.remote("a", depth=2).show.remote(), ObjectRef[str])

    # Here, they are ordinary classes and methods.
    here = Counter(3)
    assert_type(here.add(1), int)
    assert_type(here.names(), list[str])
    assert_type(here.value, int)


@flame.remote
def feed(counter: Counter, n: int) -> int:
    return flame.get(counter.add.remote(n))


def pass_a_handle() -> None:
    assert_type(feed.remote(Counter.remote(), 3), ObjectRef[int])


class Plain:
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, n: int) -> int:
        return self.value + n


def use_call_form() -> None:
    remote_plain = flame.remote(Plain)
    handle = remote_plain.remote(3)
    handle.add.remote(1)
    value: int = flame.get(handle.add.remote(n=1))
    assert_type(remote_plain(3), Plain)
    assert_type(remote_plain(3).add(value), int)
    remote_plain.options(max_concurrency=4).remote()
    flame.remote(Plain, num_cpus=1).remote()
    flame.kill(handle)
    anything: Any = flame.get(handle.add.remote(2))
    print(anything)
