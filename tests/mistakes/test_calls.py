"""Mistakes in making a call and in taking its result."""

from __future__ import annotations

import pytest

from .conftest import Runner

MISUSE = "flame_remote.exceptions.RefMisuseError"


def test_calling_the_function_instead_of_its_remote(script: Runner) -> None:
    printed = script(
        """
        @flame.remote
        def square(x):
            return x * x

        flame.get(square(3))
        """
    )
    printed.check_told(
        MISUSE, "not int 9", "did you call square(3) instead of square.remote(3)?", lines=10
    )


def test_calling_the_method_of_a_handle(script: Runner) -> None:
    printed = script(
        """
        @flame.remote
        class Counter:
            def inc(self):
                return 1

        Counter.remote().inc()
        """
    )
    printed.check_told("TypeError", "Counter.inc", "handle.inc.remote(...)", lines=8)


def test_getting_the_function_the_class_or_the_method(script: Runner) -> None:
    for wrong, told in [
        ("square", "get what square.remote(...) returns"),
        ("Counter", "get what a method of a handle returns"),
        ("Counter.remote()", "handle.method.remote(...)"),
        ("Counter.remote().inc", "get what inc.remote(...) returns"),
        ("None", "not NoneType None"),
        ("[square.remote(1), 5]", "item 1 is int 5"),
    ]:
        printed = script(
            f"""
            @flame.remote
            def square(x):
                return x * x

            @flame.remote
            class Counter:
                def inc(self):
                    return 1

            flame.get({wrong})
            """
        )
        printed.check_told(MISUSE, told, lines=12, library_frames=3)


@pytest.mark.parametrize("use", ["ref + 1", "1 + ref", "ref[0]", "len(ref)", "list(ref)", "ref()"])
def test_using_a_ref_as_the_value(script: Runner, use: str) -> None:
    printed = script(
        f"""
        @flame.remote
        def square(x):
            return x * x

        ref = square.remote(3)
        {use}
        """
    )
    printed.check_told(
        MISUSE, "this is an ObjectRef to square()", "use flame.get(ref), or await it", lines=10
    )


def test_using_an_attribute_of_the_value_on_a_ref(script: Runner) -> None:
    printed = script(
        """
        @flame.remote
        def name():
            return "x"

        name.remote().upper()
        """
    )
    printed.check_told("AttributeError", "'upper'", "an ObjectRef to name()", lines=9)


def test_asking_whether_a_ref_is_true_warns(script: Runner) -> None:
    printed = script(
        """
        import warnings
        warnings.simplefilter("error")

        @flame.remote
        def is_ready():
            return False

        if is_ready.remote():
            print("surprise")
        """
    )
    printed.check_told("RuntimeWarning", "an ObjectRef is always true", "is_ready()", lines=9)


def test_printing_a_ref_says_what_it_is(script: Runner) -> None:
    printed = script(
        """
        @flame.remote
        def square(x):
            return x * x

        ref = square.remote(3)
        flame.get(ref)
        print(ref)
        """
    )
    printed.check_fine("<ObjectRef square() #1 (succeeded)>\n")


def test_using_a_ref_in_a_list_as_its_value_inside_a_task(script: Runner) -> None:
    printed = script(
        """
        @flame.remote
        def total(values):
            return sum(values)

        flame.get(total.remote([flame.put(1), flame.put(2)]))
        """
    )
    printed.check_told(
        "flame_remote.TaskError(RefMisuseError)", "use flame.get(ref)", "in total()", lines=16
    )


def test_wrong_arguments(script: Runner) -> None:
    printed = script(
        """
        @flame.remote
        def f(x, *, k=1):
            return x

        f.remote(1, z=2)
        """
    )
    printed.check_told(
        "TypeError",
        "f() got an unexpected keyword argument 'z'",
        "(signature: f(x, *, k=1))",
        lines=8,
        library_frames=1,
    )


def test_missing_arguments_of_a_constructor_and_of_a_method(script: Runner) -> None:
    for call, told in [
        ("Counter.remote()", "missing 1 required positional argument: 'start'"),
        ("Counter.remote(1).add.remote()", "Counter.add() missing 1 required positional argument"),
    ]:
        printed = script(
            f"""
            @flame.remote
            class Counter:
                def __init__(self, start):
                    self.value = start

                def add(self, n):
                    self.value += n

            {call}
            """
        )
        printed.check_told("TypeError", told, lines=8, library_frames=1)


def test_an_unknown_option(script: Runner) -> None:
    printed = script(
        """
        @flame.remote(num_cpu=2)
        def f():
            pass
        """
    )
    printed.check_told(
        "flame_remote.exceptions.InvalidOptionError",
        "'num_cpu'",
        "did you mean 'num_cpus'?",
        lines=8,
    )


def test_a_method_that_does_not_exist(script: Runner) -> None:
    printed = script(
        """
        @flame.remote
        class Counter:
            def increase(self):
                pass

            def value(self):
                pass

        Counter.remote().incraese.remote()
        """
    )
    printed.check_told(
        "AttributeError",
        "Counter has no remote method 'incraese'",
        "did you mean 'increase'?",
        "methods: increase, value",
        lines=8,
    )


def test_asking_for_more_than_there_is(script: Runner) -> None:
    printed = script(
        """
        @flame.remote(num_cpus=100)
        def big():
            pass

        big.remote()
        """
    )
    printed.check_told(
        "flame_remote.exceptions.UnschedulableError",
        "big needs num_cpus=100 but this engine has 2",
        lines=10,
    )


def test_a_timeout_says_what_is_missing(script: Runner) -> None:
    printed = script(
        """
        import asyncio

        @flame.remote
        class Gate:
            async def wait(self):
                await asyncio.Event().wait()

        @flame.remote
        def slow(x):
            return x

        gate = Gate.remote()
        first = gate.wait.remote()
        flame.get([flame.put(1), first, slow.remote(first)], timeout=0.05)
        """
    )
    printed.check_told(
        "flame_remote.exceptions.GetTimeoutError",
        "2 of 3 results not ready after 0.05 s",
        "Gate.wait()",
        "slow()",
        lines=10,
    )


def test_starting_twice(script: Runner) -> None:
    printed = script(
        """
        flame.init()
        flame.init()
        """
    )
    printed.check_told(
        "flame_remote.exceptions.EngineError", "already running", "flame.shutdown()", lines=8
    )


def test_an_address_or_engine_that_does_not_exist(script: Runner) -> None:
    for name, told in [("inlin", "did you mean 'inline'?"), ("ray://x:1", "cannot connect")]:
        printed = script(f"flame.init({name!r})")
        printed.check_told(
            "flame_remote.exceptions.InvalidOptionError", told, lines=12, library_frames=3
        )
