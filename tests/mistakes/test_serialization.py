"""Mistakes about what can be sent to another process."""

from __future__ import annotations

from .conftest import Runner

ERROR = "flame_remote.exceptions.SerializationError"


def test_a_lock_as_an_argument(script: Runner) -> None:
    printed = script(
        """
        import threading

        @flame.remote
        def square(x, lock):
            return x * x

        square.remote(3, threading.Lock())
        """
    )
    printed.check_told(
        ERROR,
        "argument 2 ('lock') of square() is a thread lock",
        "create it inside the task, or keep it in an actor",
        lines=12,
    )


def test_a_lock_deep_inside_an_argument(script: Runner) -> None:
    printed = script(
        """
        import threading

        class Client:
            def __init__(self):
                self._lock = threading.Lock()

        @flame.remote
        def square(x, **more):
            return x * x

        square.remote(3, config={"client": [Client()]})
        """
    )
    printed.check_told(
        ERROR,
        "argument 'config' of square() contains a thread lock at ['client'][0]._lock",
        lines=12,
    )


def test_a_lock_that_the_function_uses_as_a_global(script: Runner) -> None:
    printed = script(
        """
        import threading

        LOCK = threading.Lock()

        @flame.remote
        def square(x):
            with LOCK:
                return x * x

        square.remote(3)
        """
    )
    printed.check_told(
        ERROR, "square uses the global 'LOCK'", "script.py:9)", "a thread lock", lines=12
    )


def test_a_connection_that_the_function_closes_over(script: Runner) -> None:
    printed = script(
        """
        import sqlite3

        def make():
            conn = sqlite3.connect(":memory:")

            @flame.remote
            def query(text):
                return conn.execute(text)

            return query

        make().remote("select 1")
        """
    )
    printed.check_told(ERROR, "query closes over 'conn', a database connection", lines=12)


def test_a_lock_as_a_result(script: Runner) -> None:
    printed = script(
        """
        import threading

        @flame.remote
        def h():
            return [threading.Lock()]

        flame.get(h.remote())
        """
    )
    printed.check_told(
        ERROR,
        "the value returned by h() (",
        "script.py:5)",
        "cannot be sent: it contains a thread lock at [0]",
        lines=12,
    )


def test_a_generator_and_an_open_file_come_with_their_own_advice(script: Runner) -> None:
    printed = script(
        """
        @flame.remote
        def f(x):
            pass

        f.remote(n for n in range(3))
        """
    )
    printed.check_told(ERROR, "argument 1 ('x') of f() is a generator", "list(...)", lines=12)


def test_an_error_that_cannot_be_unpickled(script: Runner) -> None:
    printed = script(
        """
        class Strict(Exception):
            def __init__(self, code, reason):
                super().__init__(f"{reason} ({code})")
                self.code = code

        @flame.remote
        def f():
            raise Strict(7, "too strict")

        try:
            flame.get(f.remote())
        except Strict as error:
            print(error.code, error.args)
        flame.get(f.remote())
        """
    )
    assert printed.output == "7 ('too strict (7)',)\n"
    printed.check_told("flame_remote.TaskError(Strict)", "too strict (7)", "in f()", lines=14)


def test_a_module_that_lies_beside_the_script_is_found_by_tasks(script: Runner) -> None:
    printed = script(
        """
        import pathlib, sys

        folder = pathlib.Path("only") / "here"
        folder.mkdir(parents=True)
        (folder / "mymod_x.py").write_text("def q(x): return x + 1")
        sys.path.insert(0, str(folder))

        import mymod_x

        print(flame.get(flame.remote(mymod_x.q).remote(1)))
        """
    )
    printed.check_fine("2\n")


def test_a_module_that_is_nowhere(script: Runner) -> None:
    printed = script(
        """
        @flame.remote
        def f():
            import no_such_module

        flame.get(f.remote())
        """
    )
    printed.check_told(
        "flame_remote.TaskError(ModuleNotFoundError)",
        "No module named 'no_such_module'",
        "import no_such_module",
        lines=12,
    )
