"""Applications are registered, changed, found and removed; refusals are understood."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import grpc
import pytest

from flame_remote._proto import types_pb2 as types
from flame_remote.core.application import (
    ApplicationAttributes,
    ApplicationSchema,
    ApplicationState,
    Shim,
)
from flame_remote.core.applications import (
    get_application,
    list_applications,
    register_application,
    unregister_application,
    update_application,
)
from flame_remote.core.connection import Connection
from flame_remote.exceptions import ClusterError, FlameErrorCode
from tests.core.fault_server import FaultServer

FULL = ApplicationAttributes(
    shim=Shim.WASM,
    image="image",
    description="what it does",
    labels=("a", "b"),
    command="python3",
    arguments=("-m", "app"),
    environments={"X": "1"},
    working_directory="/work",
    max_instances=3,
    delay_release=7,
    schema=ApplicationSchema(input='{"type": "string"}', output=" "),
    url="file:///app.tar.gz",
    installer="python",
)


def test_an_application_comes_back_as_it_was_registered(connection: Connection) -> None:
    register_application("app", FULL, connection=connection)
    application = get_application("app", connection=connection)
    assert application is not None
    assert (application.id, application.name) == ("app", "app")
    assert application.state is ApplicationState.ENABLED
    assert application.creation_time == datetime(
        2023, 11, 14, 22, 13, 20, 123_000, tzinfo=timezone.utc
    )
    schema = ApplicationSchema(input='{"type": "string"}')  # the blank part is left out
    assert application.attributes == ApplicationAttributes(
        **{name: getattr(FULL, name) for name in FULL.__slots__ if name != "schema"}, schema=schema
    )


def test_what_is_not_given_is_left_to_the_cluster(
    server: FaultServer, connection: Connection
) -> None:
    register_application("app", ApplicationAttributes(), connection=connection)
    assert server.do(lambda f: f.requests[-1].application) == types.ApplicationSpec()
    application = get_application("app", connection=connection)
    assert application is not None
    assert application.shim is Shim.HOST
    assert (application.url, application.schema, application.labels) == (None, None, ())


def test_a_mapping_will_do(connection: Connection) -> None:
    register_application("app", {"command": "x"}, connection=connection)
    application = get_application("app", connection=connection)
    assert application is not None
    assert application.command == "x"


def test_a_misspelt_attribute_is_told(connection: Connection) -> None:
    with pytest.raises(ClusterError, match="an application has no attribute 'comand', only argume"):
        register_application("app", {"comand": "x"}, connection=connection)


def test_an_application_is_updated_listed_and_unregistered(connection: Connection) -> None:
    register_application("app", {"command": "x"}, connection=connection)
    update_application("app", {"command": "y"}, connection=connection)
    (application,) = list_applications(connection=connection)
    assert (application.name, application.command) == ("app", "y")
    unregister_application("app", connection=connection)
    assert list_applications(connection=connection) == []


def test_an_application_that_is_missing_is_none(connection: Connection) -> None:
    assert get_application("no", connection=connection) is None


def test_a_cluster_that_fails_is_not_taken_for_a_missing_application(
    server: FaultServer, connection: Connection
) -> None:
    refusal = (grpc.StatusCode.INTERNAL, "disk full")
    server.do(lambda f: f.refusals.update(GetApplication=refusal))
    with pytest.raises(ClusterError, match="cannot get application 'app': disk full") as caught:
        get_application("app", connection=connection)
    assert caught.value.code is FlameErrorCode.INTERNAL


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Application 'x' already exists", FlameErrorCode.ALREADY_EXISTS),
        (
            "Cannot unregister application 'x': has open sessions",
            FlameErrorCode.INVALID_STATE,
        ),
        ("2 open sessions in the application", FlameErrorCode.INVALID_STATE),
        ("application <x> not found", FlameErrorCode.NOT_FOUND),
        ("invalid application name: x", FlameErrorCode.INVALID_ARGUMENT),
        ("", FlameErrorCode.INTERNAL),
    ],
)
def test_refusals_inside_of_answers_become_errors(
    server: FaultServer, connection: Connection, message: str, code: FlameErrorCode
) -> None:
    server.do(lambda f: f.applications.update(x=types.Application()))
    calls: dict[str, Callable[[], Any]] = {
        "Register": lambda: register_application("x", {}, connection=connection),
        "Update": lambda: update_application("x", {}, connection=connection),
        "Unregister": lambda: unregister_application("x", connection=connection),
    }
    said = message or "the cluster gave return code -1"
    for verb, call in calls.items():
        refusal = {f"{verb}Application": types.Result(return_code=-1, message=message)}
        server.do(lambda f, refusal=refusal: f.results.update(refusal))
        with pytest.raises(ClusterError) as caught:
            call()
        assert str(caught.value) == f"cannot {verb.lower()} application 'x': {said}"
        assert caught.value.code is code
