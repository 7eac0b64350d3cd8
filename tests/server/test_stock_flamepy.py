"""Stock flamepy 0.6.0 on a local cluster: as client and, where it is installed, in instances."""

from __future__ import annotations

import os
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from flame_remote.testing import LocalCluster, local_cluster

SERVICE = """
    import os
    from flamepy.core.service import FlameService, run
    class Service(FlameService):
        entered = 0
        def on_session_enter(self, context):
            self.entered += 1
            self.context = context
            if context.common_data() == b"refuse":
                raise ValueError("intentional session enter failure")
        def on_task_invoke(self, context):
            if context.input == b"fail":
                raise ValueError("Test error in task")
            if context.input == b"context":
                return repr((self.context.application.command, self.entered)).encode()
            return context.input
        def on_session_leave(self):
            pass
    run(Service())
"""


@pytest.fixture(scope="module", params=[True, False], ids=["stock worker", "our worker"])
def any_cluster(request: pytest.FixtureRequest, flamepy_python: Path) -> Iterator[LocalCluster]:
    """A cluster whose instances have flamepy, then one whose instances do not."""
    python = str(flamepy_python) if request.param else None
    with local_cluster(python=python, bind_attempts=1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def cluster(flamepy_python: Path) -> Iterator[LocalCluster]:
    with local_cluster(python=str(flamepy_python), bind_attempts=1) as cluster:
        yield cluster


def run(cluster: LocalCluster, python: Path, folder: Path, program: str) -> str:
    """Run a program with stock flamepy in a folder; return what it prints."""
    done = subprocess.run(
        [python, "-c", textwrap.dedent(program)],
        env={**os.environ, **cluster.environment, "HOME": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_functions_classes_instances_refs_and_failures(
    any_cluster: LocalCluster, flamepy_python: Path, tmp_path: Path
) -> None:
    (tmp_path / "helper.py").write_text("def triple(x): return 3 * x")
    program = """
        from flamepy.runner import Runner
        import flamepy.core

        class Counter:
            def __init__(self, start=0): self.n = start
            def add(self, k): self.n += k; return self.n

        def total(*numbers): return sum(numbers)
        def triple(x):
            import helper
            return helper.triple(x)
        def boom(): raise ValueError("boom")
        def size(data): return len(data)

        with Runner("stock") as runner:
            service = runner.service(total)
            print(service(1, 2).get(), service(service(1, 2), 3).get())
            print(sum(runner.get([service(i, i) for i in range(50)])))
            print(sorted(f.get() for f in runner.select([service(i) for i in range(12)])))
            print(runner.service(triple)(5).get())
            counter = runner.service(Counter(10))
            print([counter.add(1).get() for _ in range(3)])
            print(runner.service(Counter).add(5).get())
            print(runner.service(size)(runner.put_object(list(range(1000)))).get())
            try:
                runner.service(boom)().get()
            except Exception as error:
                print(error)
            print("stock" in [a.name for a in flamepy.core.list_applications()])
        print(flamepy.core.get_application("stock"))
    """
    output = run(any_cluster, flamepy_python, tmp_path, program)
    assert output.splitlines() == [
        "3 6",
        "2450",
        str(list(range(12))),
        "15",
        "[11, 12, 13]",
        "5",
        "1000",
        "boom (code: 3)",
        "True",
        "None",
    ]


def test_a_function_may_call_itself_through_its_own_runner(
    cluster: LocalCluster, flamepy_python: Path, tmp_path: Path
) -> None:
    program = """
        from flamepy.runner import Runner, SessionContext

        def factorial(n):
            from flamepy.runner import Runner, SessionContext
            if n <= 1:
                return 1
            factorial._session_context = SessionContext(session_id="recursive-1")
            with Runner("recursive") as runner:
                return n * runner.service(factorial)(n - 1).get()

        factorial._session_context = SessionContext(session_id="recursive-1")
        with Runner("recursive") as runner:
            print(runner.service(factorial)(3).get())
    """
    assert run(cluster, flamepy_python, tmp_path, program) == "6\n"


def test_sessions_tasks_and_services(
    cluster: LocalCluster, flamepy_python: Path, tmp_path: Path
) -> None:
    (tmp_path / "service.py").write_text(textwrap.dedent(SERVICE))
    program = f"""
        import time
        import flamepy.core as flame
        from flamepy.core import ApplicationAttributes, SessionState, TaskState

        flame.register_application("svc", ApplicationAttributes(
            command={str(flamepy_python)!r}, arguments=["service.py"],
            working_directory={str(tmp_path)!r}))
        flame.register_application("empty", ApplicationAttributes())
        print(flame.get_application("empty").url, flame.get_application("nope"))
        session = flame.create_session("svc")
        print(session.invoke(b"hello"))
        futures = [session.run(b"%d" % i) for i in range(30)]
        print([f.result() for f in futures] == [b"%d" % i for i in range(30)])
        print(session.invoke(b"context").decode())
        try:
            session.run(b"fail").result()
        except Exception as error:
            print(error)
        print(sum(task.state == TaskState.SUCCEED for task in session.list_tasks()))
        session.close()
        session.close()
        print(flame.get_session(session.id).state == SessionState.CLOSED)
        try:
            flame.open_session(session.id)
        except Exception as error:
            print(error)
        refused = flame.create_session("svc", common_data=b"refuse")
        try:
            refused.invoke(b"x")
        except Exception as error:
            print("intentional session enter failure" in str(error))
        refused.close()
        flame.unregister_application("svc")
        flame.unregister_application("empty")
    """
    output = run(cluster, flamepy_python, tmp_path, program)
    assert output.splitlines() == [
        "None None",
        "b'hello'",
        "True",
        repr((str(flamepy_python), 1)),
        "Test error in task (code: 3)",
        "32",
        "True",
        f"failed to open session: Session {_session_in(output)} is not open (code: 2)",
        "True",
    ]


def _session_in(output: str) -> str:
    return next(line.split()[5] for line in output.splitlines() if "is not open" in line)


def test_scripts_can_import_what_the_instances_have(
    cluster: LocalCluster, flamepy_python: Path, tmp_path: Path
) -> None:
    program = """
        import json
        import flamepy.core as flame
        session = flame.create_session("flmexec")
        code = "import flamepy; print(6 * 7)"
        script = {"language": "python", "code": code, "runtime": "3.99", "input": None}
        print(bytes(json.loads(session.invoke(json.dumps(script).encode()))["data"]))
        session.close()
    """
    output = run(cluster, flamepy_python, tmp_path, program)
    assert output == "b'42\\n'\n"
