"""The services that a Runner has open: makes them, and knows which of them are its own to end."""

from __future__ import annotations

import secrets
import threading
from typing import Any

from flame_remote._spec import ServicePolicy
from flame_remote.engine import Engine
from flame_remote.exceptions import EngineClosedError, InvalidOptionError

from .backends import make_backend
from .handles import FunctionHandle, InstanceHandle, ServiceHandle
from .policy import Policy
from .resources import Resources, resources_of
from .session_context import session_context_of
from .subject import Subject, SubjectKind


class OpenServices:
    """The services of one Runner, by session. Safe to use from any thread."""

    def __init__(self, engine: Engine, runner_name: str, *, may_share_sessions: bool) -> None:
        """With `may_share_sessions` somebody else may use the sessions that objects choose."""
        # Constant after construction.
        self._engine = engine
        self._runner_name = runner_name
        self._may_share_sessions = may_share_sessions
        self._lock = threading.Lock()
        # Guarded by self._lock.
        self._closed = False
        self._services: dict[str, ServiceHandle] = {}  # by session id
        self._borrowed: set[str] = set()  # sessions that somebody else may have opened

    def open(
        self,
        target: Any,
        stateful: bool | None,
        autoscale: bool | None,
        warmup: int,
        resreq: Resources | None,
    ) -> ServiceHandle:
        """Make a service, or find that of the session which the target names; see Runner.service.

        Called by Runner.service only, as a warning names the line that called that.
        """
        if isinstance(target, ServiceHandle):
            raise TypeError(f"service() takes what is to be served, not {target!r}")
        subject = Subject.of(target, stateful=stateful)
        policy = Policy.of(subject, stateful, autoscale, warmup)
        context = session_context_of(subject.value)
        session_id = context.session_id or f"{self._runner_name}-{secrets.token_hex(3)}"
        with self._lock:
            self._check_open()
            known = self._services.get(session_id)
        if known is not None and not known._flame_closed:
            return _same_session(known, subject, policy)
        wish = ServicePolicy(
            application=context.application_name or self._runner_name,
            session_id=session_id,
            min_instances=policy.min_instances,
            max_instances=policy.max_instances,
            resources=resources_of(resreq),
        )
        backend = make_backend(self._engine, subject, policy, wish)
        make = FunctionHandle if subject.kind is SubjectKind.FUNCTION else InstanceHandle
        handle: ServiceHandle = make(subject, policy, session_id, backend)
        with self._lock:
            if not self._closed:
                self._services[session_id] = handle
                if context.session_id and self._may_share_sessions:
                    self._borrowed.add(session_id)
                _warn_of_hidden_close(subject)
                return handle
        handle.close()
        raise self._refusal()

    def take_all(self) -> list[ServiceHandle] | None:
        """Open no more; return those that are to be ended, None if that was done before."""
        with self._lock:
            if self._closed:
                return None
            self._closed = True
            services, self._services = self._services, {}
        return [each for session, each in services.items() if session not in self._borrowed]

    def __repr__(self) -> str:
        return "closed" if self._closed else f"services: {len(self._services)}"

    def _check_open(self) -> None:
        if self._closed:
            raise self._refusal()

    def _refusal(self) -> EngineClosedError:
        return EngineClosedError(f"the Runner {self._runner_name!r} was closed; make another one")


def _same_session(known: ServiceHandle, subject: Subject, policy: Policy) -> ServiceHandle:
    """Return the service of a session that is asked for again; refuse another kind of service."""
    if (known._flame_subject.kind, known._flame_policy) != (subject.kind, policy):
        raise InvalidOptionError(
            f"the session {known._flame_session_id!r} is open already as {known!r}: close that one "
            f"first, or choose another session_id for {subject.article}"
        )
    return known


def _warn_of_hidden_close(subject: Subject) -> None:
    if "close" in subject.methods:
        import warnings

        warnings.warn(
            f"service.close() ends the service; {subject.name}'s own close is service['close']()",
            UserWarning,
            stacklevel=4,
        )
