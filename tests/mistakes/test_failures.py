"""Errors of the user's own code, uncaught."""

from __future__ import annotations

import sys

import pytest

from .conftest import Runner


def test_an_exception_in_a_task(script: Runner) -> None:
    printed = script(
        """
        def ratio(x):
            return 1 + (1 / x)

        @flame.remote
        def outer(x):
            return ratio(x)

        flame.get(outer.remote(0))
        """
    )
    printed.check_told(
        "flame_remote.TaskError(ZeroDivisionError)",
        "division by zero",
        "in outer(), task #1, worker pid ",
        'script.py", line 8, in outer',
        'script.py", line 4, in ratio',
        lines=20,
    )
    if sys.version_info >= (3, 11):
        line, carets = printed.error.splitlines()[-4:-2]
        assert line.strip() == "return 1 + (1 / x)"
        assert carets.strip() == "~~^~~"
        assert carets.index("~") == line.index("1 / x")


def test_an_exception_in_a_task_with_a_cause(script: Runner) -> None:
    printed = script(
        """
        @flame.remote
        def outer(text):
            try:
                return int(text)
            except ValueError as error:
                raise RuntimeError("not a number") from error

        flame.get(outer.remote("x"))
        """
    )
    printed.check_told(
        "flame_remote.TaskError(RuntimeError)",
        "ValueError: invalid literal",
        "The above exception was the direct cause",
        "not a number",
        lines=20,
    )


def test_an_exception_in_a_task_that_another_task_waits_for(script: Runner) -> None:
    printed = script(
        """
        @flame.remote
        def inner(x):
            return 1 / x

        @flame.remote
        def outer(x):
            return flame.get(inner.remote(x))

        flame.get(outer.remote(0))
        """
    )
    printed.check_told(
        "flame_remote.TaskError(ZeroDivisionError)",
        "in inner(), task #",
        "called by outer()",
        lines=20,
    )


def test_a_failed_dependency(script: Runner) -> None:
    printed = script(
        """
        @flame.remote
        def bad(x):
            return 1 / x

        @flame.remote
        def f(x):
            return x

        @flame.remote
        def outer(x):
            return x

        flame.get(outer.remote(f.remote(bad.remote(0))))
        """
    )
    printed.check_told(
        "flame_remote.TaskError(ZeroDivisionError)",
        "in bad(), task #1",
        "needed by: f <- outer",
        lines=20,
    )


def test_an_exception_in_a_constructor(script: Runner) -> None:
    printed = script(
        """
        @flame.remote
        class Counter:
            def __init__(self, start):
                self.value = int(start)

            def add(self, n):
                return self.value + n

        flame.get(Counter.remote("many").add.remote(1))
        """
    )
    printed.check_told(
        "flame_remote.TaskError(ValueError)",
        "invalid literal for int() with base 10: 'many'",
        "in Counter(), task #1",
        "needed by: Counter.add",
        lines=20,
    )


def test_exit_in_a_task(script: Runner) -> None:
    printed = script(
        """
        import sys

        @flame.remote
        def leave():
            sys.exit("leaving")

        flame.get(leave.remote())
        """
    )
    printed.check_told("flame_remote.TaskError", "SystemExit: leaving", "in leave()", lines=20)


def test_endless_recursion_in_a_task(script: Runner) -> None:
    printed = script(
        """
        @flame.remote
        def forever(n):
            def deeper(n):
                return deeper(n + 1)
            return deeper(n)

        flame.get(forever.remote(0))
        """
    )
    printed.check_told(
        "flame_remote.TaskError(RecursionError)",
        "maximum recursion depth exceeded",
        "frames left out",
        lines=45,
    )


def test_a_killed_actor(script: Runner) -> None:
    printed = script(
        """
        @flame.remote
        class Counter:
            def add(self):
                return 1

        counter = Counter.remote()
        flame.kill(counter)
        flame.get(counter.add.remote())
        """
    )
    printed.check_told(
        "flame_remote.exceptions.ActorDiedError", "actor Counter is dead", "kill", lines=10
    )


def test_a_ref_of_an_ended_session(script: Runner) -> None:
    printed = script(
        """
        @flame.remote
        def f():
            return 1

        ref = f.remote()
        flame.shutdown()
        flame.get(ref)
        """
    )
    printed.check_told(
        "flame_remote.exceptions.SessionEndedError",
        "belongs to a session that has ended",
        lines=12,
        library_frames=3,
    )


def test_a_failed_task_whose_result_nobody_gets_is_reported_once(script: Runner) -> None:
    printed = script(
        """
        @flame.remote
        def divide(x):
            return 1 / x

        divide.remote(0)
        divide.remote(1)
        looked_at = divide.remote(0)
        looked_at.exception()
        del looked_at
        flame.remote(abs).remote(divide.remote(0)).exception()

        @flame.remote
        class Broken:
            def __init__(self):
                raise ValueError("broken")

            def call(self):
                pass

        Broken.remote().call.remote().exception()
        """
    )
    assert (printed.status, printed.output) == (0, ""), printed
    assert printed.error.count("was never looked at") == 1, printed.error
    assert "an error of divide()" in printed.error
    assert "ZeroDivisionError: division by zero" in printed.error
    assert len(printed.error.splitlines()) <= 8, printed.error


def test_no_main_guard_is_needed_and_the_script_runs_once(script: Runner) -> None:
    printed = script(
        """
        print("once")

        @flame.remote
        def square(x):
            return x * x

        print(flame.get([square.remote(n) for n in range(4)]))
        """
    )
    printed.check_fine("once\n[0, 1, 4, 9]\n")


@pytest.mark.parametrize("how", ["flame.shutdown()", "pass", "import sys; sys.exit(0)"])
def test_a_script_ends_quietly_whether_or_not_it_shuts_down(script: Runner, how: str) -> None:
    printed = script(
        f"""
        @flame.remote
        def square(x):
            return x * x

        @flame.remote
        class Counter:
            async def add(self, n):
                return n

        counter = Counter.remote()
        refs = [square.remote(3), counter.add.remote(1)]
        print(flame.get(refs))
        {how}
        """
    )
    printed.check_fine("[9, 1]\n")
