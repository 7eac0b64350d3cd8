"""What a cluster can be asked: how each call is spoken of, and whether it may be asked twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Method:
    """One call of the Frontend service.

    `doing` completes "cannot ..."; fields of the request stand in braces. A call is `repeatable` if
    doing it twice comes to the same as once: then it is sent again after a lost connection.
    """

    doing: str
    repeatable: bool

    def describe(self, request: Any) -> str:
        """Say what a request asks for."""
        return self.doing.format(request)


METHODS: Final = {
    "RegisterApplication": Method("register application {0.name!r}", repeatable=False),
    "UnregisterApplication": Method("unregister application {0.name!r}", repeatable=False),
    "UpdateApplication": Method("update application {0.name!r}", repeatable=True),
    "GetApplication": Method("get application {0.name!r}", repeatable=True),
    "ListApplication": Method("list applications", repeatable=True),
    "ListExecutor": Method("list executors", repeatable=True),
    "ListNodes": Method("list nodes", repeatable=True),
    "GetNode": Method("get node {0.name!r}", repeatable=True),
    "CreateSession": Method("create session {0.session_id!r}", repeatable=False),
    "OpenSession": Method("open session {0.session_id!r}", repeatable=True),
    "CloseSession": Method("close session {0.session_id!r}", repeatable=True),
    "GetSession": Method("get session {0.session_id!r}", repeatable=True),
    "ListSession": Method("list sessions", repeatable=True),
    "DeleteSession": Method("delete session {0.session_id!r}", repeatable=False),
    "CreateTask": Method("create a task in session {0.task.session_id!r}", repeatable=False),
    "GetTask": Method("get task {0.task_id} of session {0.session_id!r}", repeatable=True),
    "WatchTask": Method("watch task {0.task_id} of session {0.session_id!r}", repeatable=True),
    "ListTask": Method("list the tasks of session {0.session_id!r}", repeatable=True),
}
