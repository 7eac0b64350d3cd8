"""Golden outputs: what is shown of applications, sessions, tasks, executors and nodes."""

from __future__ import annotations

import json
from textwrap import dedent
from typing import Final

from flame_remote._cli import applications, nodes, sessions
from flame_remote._cli.tables import table
from flame_remote._proto import types_pb2

MOMENT: Final = 1_795_471_543_250  # 2026-11-23 22:05:43.250 UTC
GIB: Final = 1 << 30


def application() -> types_pb2.Application:
    return types_pb2.Application(
        metadata=types_pb2.Metadata(id="crawler", name="crawler"),
        spec=types_pb2.ApplicationSpec(
            description="Reads pages",
            labels=["web", "demo"],
            command="python3",
            arguments=["-m", "crawler"],
            environments=[types_pb2.Environment(name="PORT", value="8080")],
            max_instances=5,
            delay_release=90,
            schema=types_pb2.ApplicationSchema(input='{"type": "string"}', output="no JSON"),
        ),
        status=types_pb2.ApplicationStatus(creation_time=MOMENT),
    )


def session(**status: int) -> types_pb2.Session:
    return types_pb2.Session(
        metadata=types_pb2.Metadata(id="crawler-a1b2c3", name="crawler-a1b2c3"),
        spec=types_pb2.SessionSpec(
            application="crawler",
            priority=3,
            common_data=b"abc",
            resreq=types_pb2.ResourceRequirement(cpu=1, memory=2 * GIB),
        ),
        status=types_pb2.SessionStatus(
            creation_time=MOMENT,
            pending=4,
            running=1,
            succeed=2,
            events=[
                types_pb2.Event(code=1001, message="did not\nstart", creation_time=MOMENT + 1000)
            ],
            **status,
        ),
    )


def task(number: int) -> types_pb2.Task:
    return types_pb2.Task(
        metadata=types_pb2.Metadata(id=str(number), name=str(number)),
        spec=types_pb2.TaskSpec(session_id="crawler-a1b2c3", input=b"12345"),
        status=types_pb2.TaskStatus(
            state=types_pb2.Failed,
            creation_time=MOMENT,
            completion_time=MOMENT + 7,
            events=[types_pb2.Event(code=3, message="division by zero", creation_time=MOMENT + 7)],
        ),
    )


def node() -> types_pb2.Node:
    return types_pb2.Node(
        metadata=types_pb2.Metadata(id="n1", name="n1"),
        spec=types_pb2.NodeSpec(hostname="n1.local"),
        status=types_pb2.NodeStatus(
            state=types_pb2.Ready,
            capacity=types_pb2.ResourceRequirement(cpu=8, memory=16 * GIB),
            allocatable=types_pb2.ResourceRequirement(cpu=7, memory=15 * GIB),
            info=types_pb2.NodeInfo(arch="x86_64", os="linux"),
            addresses=[types_pb2.NodeAddress(type="InternalIP", address="10.0.0.1")],
        ),
    )


def golden(text: str) -> str:
    """Take the indentation of a golden output away; `|` marks its left edge."""
    return "".join(line.partition("|")[2] + "\n" for line in dedent(text).strip().splitlines())


def test_applications_are_listed_in_flames_columns() -> None:
    plain = types_pb2.Application(metadata=types_pb2.Metadata(name="bare"))
    plain.spec.shim = types_pb2.Wasm
    plain.status.state = types_pb2.Disabled
    rows = map(applications.row, [application(), plain])
    assert table(applications.HEADS, rows) == golden(
        """
        | Name     State     Shim  Tags       Created   Command
        | crawler  Enabled   Host  web, demo  22:05:43  python3
        | bare     Disabled  Wasm  -          00:00:00  -
        """
    )


def test_an_application_is_viewed_as_a_card() -> None:
    assert applications.view(application()).expandtabs(4) == golden(
        """
        |Name:          crawler
        |Description:   Reads pages
        |Shim:          Host
        |Image:
        |URL:
        |Installer:
        |Labels:
        |    web
        |    demo
        |Command:       python3
        |Arguments:
        |    -m
        |    crawler
        |Environments:
        |    PORT: 8080
        |WorkingDir:
        |Max Instances: 5
        |Delay Release: 1m 30s
        |Schema:
        |  Input: string
        |  Output: -
        |  Common Data: -
        """
    )


def test_an_application_as_json() -> None:
    assert applications.as_json(application()) == {
        "name": "crawler",
        "state": "Enabled",
        "created": "2026-11-23T22:05:43.250Z",
        "shim": "Host",
        "description": "Reads pages",
        "labels": ["web", "demo"],
        "image": None,
        "command": "python3",
        "arguments": ["-m", "crawler"],
        "environments": {"PORT": "8080"},
        "working_directory": None,
        "max_instances": 5,
        "delay_release_seconds": 90,
        "schema": {"input": '{"type": "string"}', "output": "no JSON", "common_data": None},
        "url": None,
        "installer": None,
    }


def test_sessions_are_listed_in_flames_columns() -> None:
    closed = types_pb2.Session(metadata=types_pb2.Metadata(id="x"))
    closed.status.state = types_pb2.Closed
    found = sorted([closed, session(failed=5)], key=sessions.order)
    assert table(sessions.HEADS, map(sessions.row, found)) == golden(
        """
        | ID              State   App      Resources            Priority  Pending  Running  Succeed  Failed  Created
        | crawler-a1b2c3  Open    crawler  cpu=1,mem=2Gi,gpu=0  3         4        1        2        5       22:05:43
        | x               Closed           -                    0         0        0        0        0       00:00:00
        """  # noqa: E501
    )


def test_a_session_is_viewed_as_a_card_with_its_events() -> None:
    assert sessions.view(session(failed=1)) == golden(
        """
        | Session:        crawler-a1b2c3
        | Application:    crawler
        | State:          Open
        | Resources:      cpu=1,mem=2Gi,gpu=0
        | Creation Time:  22:05:43
        | Tasks:          4 pending, 1 running, 2 succeed, 1 failed
        |Events:
        |  22:05:44.250: did not
        |    start (1001)
        """
    )


def test_cancelled_tasks_are_told_if_there_are_any() -> None:
    assert "0 failed, 6 cancelled\n" in sessions.view(session(cancelled=6))


def test_a_session_as_json_has_its_tasks_in_the_order_of_their_numbers() -> None:
    values = sessions.as_json(session(), [task(10), task(9)])
    assert [one["id"] for one in values.pop("tasks")] == ["9", "10"]
    assert values == {
        "id": "crawler-a1b2c3",
        "application": "crawler",
        "state": "Open",
        "resources": {"cpu": 1, "memory_bytes": 2 * GIB, "gpu": 0},
        "priority": 3,
        "min_instances": 0,
        "max_instances": None,
        "common_data_bytes": 3,
        "created": "2026-11-23T22:05:43.250Z",
        "completed": None,
        "task_counts": {"pending": 4, "running": 1, "succeed": 2, "failed": 0, "cancelled": 0},
        "events": [{"code": 1001, "message": "did not\nstart", "time": "2026-11-23T22:05:44.250Z"}],
    }
    assert "tasks" not in sessions.as_json(session())


def test_a_task_is_viewed_as_a_card_with_its_events() -> None:
    assert sessions.view_task(task(7), "crawler") == golden(
        """
        |Task:          7
        |Session:       crawler-a1b2c3
        |Application:   crawler
        |State:         Failed
        |Events:
        |  22:05:43.257: division by zero (3)
        """
    )


def test_a_task_as_json_has_the_sizes_of_what_goes_in_and_out() -> None:
    assert sessions.task_as_json(task(7)) == {
        "id": "7",
        "session": "crawler-a1b2c3",
        "state": "Failed",
        "created": "2026-11-23T22:05:43.250Z",
        "completed": "2026-11-23T22:05:43.257Z",
        "input_bytes": 5,
        "output_bytes": None,
        "events": [{"code": 3, "message": "division by zero", "time": "2026-11-23T22:05:43.257Z"}],
    }


def test_nodes_and_executors_are_listed_in_flames_columns() -> None:
    assert table(nodes.HEADS, [nodes.row(node())]) == golden(
        """
        | NAME  HOSTNAME  STATUS  CPU  MEMORY  ARCH    OS
        | n1    n1.local  Ready   8    16Gi    x86_64  linux
        """
    )
    bound = types_pb2.Executor(metadata=types_pb2.Metadata(id="e1"))
    bound.spec.node = "n1"
    bound.status.state = types_pb2.ExecutorBound
    bound.status.session_id = "crawler-a1b2c3"
    idle = types_pb2.Executor(metadata=types_pb2.Metadata(id="e2"))
    idle.spec.node = "n1"
    idle.status.state = types_pb2.ExecutorIdle
    assert table(nodes.EXECUTOR_HEADS, map(nodes.executor_row, [bound, idle])) == golden(
        """
        | ID  State  Session         Node
        | e1  Bound  crawler-a1b2c3  n1
        | e2  Idle   -               n1
        """
    )
    assert nodes.executor_as_json(idle) == {
        "id": "e2",
        "state": "Idle",
        "session": None,
        "node": "n1",
        "resources": {"cpu": 0, "memory_bytes": 0, "gpu": 0},
        "shim": "Host",
    }


def test_a_node_is_viewed_as_a_card() -> None:
    assert nodes.view(node()) == golden(
        """
        |Name:          n1
        |Hostname:      n1.local
        |Status:        Ready
        |Capacity:
        |  CPU:         8
        |  Memory:      16Gi
        |Info:
        |  Arch:        x86_64
        |  OS:          linux
        """
    )
    assert nodes.as_json(node()) == {
        "name": "n1",
        "hostname": "n1.local",
        "state": "Ready",
        "capacity": {"cpu": 8, "memory_bytes": 16 * GIB, "gpu": 0},
        "allocatable": {"cpu": 7, "memory_bytes": 15 * GIB, "gpu": 0},
        "arch": "x86_64",
        "os": "linux",
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        "last_heartbeat": None,
    }


def test_states_that_a_newer_cluster_has_are_shown_by_their_number() -> None:
    strange = session()
    strange.status.state = 7  # type: ignore[assignment]
    assert sessions.row(strange)[1] == "7"
    json.dumps(sessions.as_json(strange))
