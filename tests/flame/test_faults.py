"""What goes wrong on a cluster, and what users are told."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame
from flame_remote import _current
from flame_remote._flame import driving, holder, owners
from flame_remote._flame.engine import FlameEngine
from flame_remote._flame.start import Registry
from flame_remote.core.applications import list_applications
from flame_remote.core.connection import Connection
from flame_remote.core.context import FlameContext
from flame_remote.core.objects import count_objects
from flame_remote.core.sessions import list_sessions
from flame_remote.exceptions import ClusterError, ConnectError

from ..clusters import Cluster
from ..conftest import wait_until


@flame.remote
def identity(x: Any) -> Any:
    return x


@flame.remote
class Fragile:
    def pid(self) -> int:
        return os.getpid()

    def crash(self) -> None:
        os._exit(4)


def test_where_nobody_listens_that_is_told_with_where_the_address_came_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1:1.*the argument endpoint"):
        flame.init("flame://127.0.0.1:1")
    monkeypatch.setenv("FLAME_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ConnectError, match="FLAME_ENDPOINT"):
        identity.remote(1)
    assert not flame.is_initialized()


def test_without_a_template_that_is_told_with_what_to_do(
    flame_cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = tmp_path / "flame.yaml"
    settings.write_text(
        "current-context: test\ncontexts:\n  - name: test\n    runner:\n      template: missing\n"
    )
    monkeypatch.setenv("FLAME_CONFIG", str(settings))
    with pytest.raises(ClusterError, match=r"no application 'missing'.*flame\.yaml.*flmctl"):
        flame.init(flame_cluster.engine)


def test_the_end_is_not_held_up_by_a_task_that_runs(
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("FLAME_CACHE_ENDPOINT", cluster.cache_endpoint)
    monkeypatch.setattr("flame_remote._flame.start._CLOSE_SECONDS", 0.2)

    @flame.remote
    def hold(path: str) -> None:
        import os
        import time

        open(path, "w").close()
        for _ in range(40):
            time.sleep(0.05)
            if not os.path.exists(path):
                return

    flag = tmp_path / "held"
    with caplog.at_level(logging.WARNING), flame.init(cluster.engine):
        hold.remote(str(flag))
        assert wait_until(flag.exists)
    flag.unlink()
    assert "could not be closed, as tasks still run there" in caplog.text


PROGRAM = """
import sys, time
import flame_remote as flame
flame.init(sys.argv[1])
ref = flame.put(bytes(1_000_000))
print(flame.get(flame.remote(lambda x: x).remote(1)), flush=True)
time.sleep(600)
"""


def test_what_a_killed_program_has_left_the_next_one_removes(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = FlameContext.load(cluster.endpoint, cluster.cache_endpoint)
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, **cluster.environment, "PYTHONPATH": root}
    connection = Connection(context)

    def ours() -> set[str]:
        names = {application.name for application in list_applications(connection=connection)}
        return {name for name in names if name.startswith("flame-")}

    before = ours()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, cluster.engine], stdout=subprocess.PIPE, env=environment
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"1\n"
        left = ours() - before
        assert len(left) == 2
        program.kill()
    monkeypatch.setenv("FLAME_CACHE_ENDPOINT", cluster.cache_endpoint)
    with flame.init(cluster.engine):
        assert wait_until(lambda: not left & ours())
        for name in left:
            assert wait_until(
                lambda name=name: not count_objects(f"{name}/*", context=context).keys
            )
        applications = {one.application for one in list_sessions(connection=connection)}
        assert not left & applications
    connection.close()


def test_what_programs_have_left_is_removed_on_clusters_that_do_not_do_it_themselves(
    flame_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAME_CACHE_ENDPOINT", flame_cluster.cache_endpoint)
    with flame.init(flame_cluster.engine):
        engine = _current.engine
        assert isinstance(engine, FlameEngine)
        flame.get([identity.remote(1), identity.remote(bytes(1_000_000))])
        # As if this program were gone, and the cluster had not noticed.
        monkeypatch.setattr(owners, "is_orphan", lambda labels: set(owners.labels()) <= {*labels})
        registry = Registry(engine._cluster, engine._cache)
        assert set(registry.orphans()) >= {engine.program.application, engine.program.actors}
        registry._clean()
        assert registry.orphans() == []


def test_a_worker_of_another_python_says_so() -> None:
    stranger = holder.Holder({"python": (3, 9), "digest": "", "archive": b"", "settings": {}})
    with pytest.raises(RuntimeError, match=r"flame_remote: this worker runs Python.*Python 3\.9"):
        stranger.run((b"",))


def test_any_python_can_load_the_holder_and_nothing_of_ours_is_needed_for_that() -> None:
    import pickle

    data = pickle.dumps(driving._Holder({"python": (3, 9)}), 4)
    program = (
        "import pickle, sys; holder = pickle.load(sys.stdin.buffer); "
        "assert 'flame_remote' not in sys.modules; holder.run((b'',))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], input=data, capture_output=True)
    assert b"this worker runs Python" in done.stderr


def test_replies_come_through_the_cache_where_a_worker_knows_no_other_way(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAME_CACHE_ENDPOINT", cluster.cache_endpoint)
    monkeypatch.setattr("flame_remote._flame.start._INLINE_BYTES", 0)
    with flame.init(cluster.engine):
        assert flame.get([identity.remote(n) for n in range(20)]) == list(range(20))

        @flame.remote
        def begin() -> list[Any]:
            return [identity.remote(n) for n in range(3)]

        assert flame.get(flame.get(begin.remote())) == [0, 1, 2]


def test_nothing_is_left_on_the_cluster_when_a_session_has_ended(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAME_CACHE_ENDPOINT", cluster.cache_endpoint)
    with flame.init(cluster.engine):
        engine = _current.engine
        assert isinstance(engine, FlameEngine)
        program = engine.program
        actor = Fragile.remote()
        kept = [flame.put(bytes(1_000_000)), identity.remote(bytes(1_000_000)), actor.pid.remote()]
        flame.get(kept)
    context = FlameContext.load(cluster.endpoint, cluster.cache_endpoint)
    connection = Connection(context)
    names = {program.application, program.actors}
    assert not names & {one.name for one in list_applications(connection=connection)}
    assert not names & {one.application for one in list_sessions(connection=connection)}
    assert [count_objects(f"{name}/*", context=context).keys for name in names] == [0, 0]
    connection.close()


def test_workers_that_have_another_version_of_this_package_use_the_programs(
    flame_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    @flame.remote
    def origin() -> str:
        import flame_remote

        return flame_remote.__file__

    monkeypatch.setenv("FLAME_CACHE_ENDPOINT", flame_cluster.cache_endpoint)
    monkeypatch.setattr(flame, "__version__", "another")
    with flame.init(flame_cluster.engine):
        assert Path(flame.get(origin.remote())).parent.parent.name == "package"
