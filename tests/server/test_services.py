"""The applications that come with the cluster: flmexec, flmping, and flmrun's way to Python."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

import pytest

from flame_remote._proto import frontend_pb2 as fp
from flame_remote.testing import LocalCluster, local_cluster
from tests.server.client import Client, failure_of


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A cluster that finds a `python9.9` which is none, as version managers leave behind."""
    folder = tmp_path_factory.mktemp("bin")
    other = folder / "python9.9"
    other.write_text("#!/bin/sh\necho python9.9: command not found >&2\nexit 127\n")
    other.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    with local_cluster(bind_attempts=1, environment=environment) as cluster:
        yield cluster


@pytest.fixture
def script(client: Client, request: pytest.FixtureRequest) -> Iterator[str]:
    client.open(request.node.name, "flmexec")
    yield request.node.name
    client.shut(request.node.name)


def run(client: Client, session: str, **script: object) -> bytes:
    output = client.invoke(session, json.dumps(script).encode())
    return bytes(json.loads(output)["data"])


def test_scripts_run_and_their_output_comes_back(client: Client, script: str) -> None:
    code = "import sys; print(sys.stdin.read().upper(), end='')"
    given = {"input": list(b"abc"), "runtime": None}
    assert run(client, script, language="python", code=code, **given) == b"ABC"
    assert run(client, script, language="shell", code="cat; echo $((1+1))") == b"2\n"


@pytest.mark.parametrize("runtime", ["9.9", "python9.9", "9.8"])
def test_a_python_that_does_not_run_is_replaced_by_that_of_the_cluster(
    client: Client, script: str, runtime: str
) -> None:
    assert run(client, script, language="python", code="print(1)", runtime=runtime) == b"1\n"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"language": "shell", "code": "echo oops >&2; exit 4"}, ["exit code 4", "oops"]),
        ({"language": "python", "code": "1/0"}, ["exit code 1", "ZeroDivisionError"]),
        ({"language": "cobol", "code": ""}, ["unknown language 'cobol'"]),
        ({"language": "shell"}, ["expected", "code"]),
        ({"language": "shell", "code": "", "runtime": "/no/shell"}, ["cannot run /no/shell"]),
    ],
)
def test_a_script_that_fails_fails_its_task(
    client: Client, script: str, given: dict[str, str], words: list[str]
) -> None:
    task = client.end_of(script, client.send(script, json.dumps(given).encode()))
    assert all(word in failure_of(task) for word in words)


def test_a_ping_is_answered(client: Client) -> None:
    client.open("ping", "flmping")
    output = json.loads(client.invoke("ping", b'{"duration": 1, "memory": 1000}'))
    assert output["message"].startswith("Completed on <")
    assert output["message"].endswith("with <1000> memory")
    client.invoke("ping", None)
    client.shut("ping")


def test_a_python_version_that_is_not_there_is_told_with_the_one_that_is(client: Client) -> None:
    template = client.call("GetApplication", fp.GetApplicationRequest(name="flmrun")).spec
    client.register(
        "old",
        command=template.command,
        arguments=template.arguments,
        installer="python",
        env={"FLAME_PYTHON_VERSION": "2.3"},
    )
    client.open("old", "old")
    task = client.end_of("old", client.send("old", b""))
    version = "{}.{}".format(*sys.version_info[:2])
    assert "wants python2.3, but instances of this cluster run Python " + version in failure_of(
        task
    )
    client.shut("old")


def test_a_session_that_no_runner_made_is_told_what_it_lacks(client: Client) -> None:
    client.open("by-hand", "flmrun")
    task = client.end_of("by-hand", client.send("by-hand", b""))
    assert "the session has no common data" in failure_of(task)
    client.shut("by-hand")
