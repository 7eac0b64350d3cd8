"""The engine of a program: its applications on the cluster, from registration to the end."""

from __future__ import annotations

import getpass
import os
import re
import sys
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from flame_remote import _ids
from flame_remote._wire import own_modules
from flame_remote.exceptions import ClusterError, FlameError, FlameErrorCode

from . import bundle, owners
from .cache import Cache
from .cluster import Cluster
from .driving import context_pickle
from .engine import FlameEngine
from .program import CLOSED, CODE, Program

if TYPE_CHECKING:
    from flame_remote.core.context import FlameContext

_CLOSE_SECONDS: Final = 4.0  # for all that the end of a program takes
# An idle process of functions is kept so long: a start takes a second, but others want its place.
_FUNCTIONS_RELEASE: Final = 20
_ACTORS_RELEASE: Final = 30 * 24 * 3600  # an actor lives as long as its session
_INLINE_BYTES: Final = 1024 * 1024  # a larger reply goes through the cache


# Applications of earlier engines of this process that could not be removed at their end.
_left_by_us: set[str] = set()


class ProgramEngine(FlameEngine):
    """The engine of a program, which owns the applications. Safe to use from any thread."""

    @classmethod
    def start(cls, context: FlameContext) -> ProgramEngine:
        """Connect, and register the applications.

        Raises:
            ConnectError: nobody answers at the endpoint; told within 2 seconds.
            ClusterError: the template is not there, or the cluster refuses.
        """
        cluster = Cluster(context)
        cache = Cache(context)
        try:
            registry = Registry(cluster, cache)
            name = f"flame-{_user()}-{os.urandom(4).hex()}"
            program = Program(
                session=os.urandom(8).hex(),
                application=name,
                actors=f"{name}-actors",
                owner=os.urandom(6).hex(),
                nodes=registry.nodes(),
            )
            template = registry.template(context)
            registry.register(program.application, template, _FUNCTIONS_RELEASE)
            registry.register(program.actors, template, _ACTORS_RELEASE)
            common = _put_context(cache, program)
        except BaseException:
            cluster.close()
            cache.close()
            raise
        own_modules.send_by_value()
        engine = cls(program, cluster, cache, common=common, name=program.owner, origin=_ids.DRIVER)
        registry.clean_in_background()
        engine._registry = registry
        return engine

    _registry: Registry

    def _shut(self, error: FlameError) -> None:
        end = monotonic() + _CLOSE_SECONDS
        try:
            super()._shut(error)
        finally:
            try:
                self._registry.remove(self.program, end)
            finally:
                own_modules.send_by_name()
                self._cluster.close()
                self._cache.close()


class Registry:
    """The applications of a cluster that are ours, or were somebody's like us. Blocks."""

    def __init__(self, cluster: Cluster, cache: Cache) -> None:
        self._cluster = cluster
        self._cache = cache
        self._cleaning: threading.Thread | None = None
        self._ended = threading.Event()

    def nodes(self) -> tuple[tuple[float, float], ...]:
        """Return CPUs and GPUs of each node that takes part."""
        from flame_remote._proto import frontend_pb2, types_pb2

        # The first call of all: told in time if nobody is there.
        answer = self._cluster.call("ListNodes", frontend_pb2.ListNodesRequest(), timeout=10.0)
        # The capacity, as some clusters count what is free at the moment as allocatable.
        return tuple(
            (float(node.status.capacity.cpu), float(node.status.capacity.gpu))
            for node in answer.nodes
            if node.status.state == types_pb2.Ready
        )

    def template(self, context: FlameContext) -> Any:
        """Return the spec of the application that ours are copies of."""
        from flame_remote._proto import frontend_pb2, types_pb2

        request = frontend_pb2.GetApplicationRequest(name=context.runner_template)
        try:
            application = self._cluster.call("GetApplication", request, timeout=10.0)
        except ClusterError as error:
            if error.code is not FlameErrorCode.NOT_FOUND:
                raise
            raise ClusterError(
                f"the cluster at {context.endpoint} has no application "
                f"{context.runner_template!r} (from {context.origin('runner_template')}), of which "
                "the ones of programs are copies: register it with flmctl register, or name "
                "another as runner.template in ~/.flame/flame.yaml",
                FlameErrorCode.NOT_FOUND,
            ) from None
        spec = types_pb2.ApplicationSpec()
        spec.CopyFrom(application.spec)
        return spec

    def register(self, name: str, template: Any, release_seconds: int) -> None:
        """Register a copy of the template."""
        from flame_remote._proto import frontend_pb2, types_pb2

        spec = types_pb2.ApplicationSpec()
        spec.CopyFrom(template)
        spec.description = "a program that uses flame_remote"
        spec.delay_release = release_seconds
        spec.labels.extend(owners.labels())
        request = frontend_pb2.RegisterApplicationRequest(name=name, application=spec)
        self._cluster.call("RegisterApplication", request, timeout=10.0)

    # --- the end ------------------------------------------------------------------------

    def remove(self, program: Program, end: float) -> None:
        """Remove what a program has on the cluster, as far as that can be done by `end`."""
        self._ended.set()
        if self._cleaning is not None:
            self._cleaning.join(max(0.0, end - monotonic()))
        names = [program.actors, program.application]
        try:
            left = self._close_sessions(names, end, prefix=program.prefix(CLOSED))
            for name in names:
                self._cache.delete_all(name, timeout=max(0.5, end - monotonic()))
            for name in names:
                self._unregister(name)
        except FlameError as error:
            _warn("what this program has on the cluster could not be removed: %s", error)
            return
        if left:
            _left_by_us.update(names)
            _warn(
                "%d sessions of this program could not be closed, as tasks still run there: %s; "
                "the next program that starts on this machine removes them",
                *(len(left), ", ".join(sorted(left)[:5])),
            )

    def _close_sessions(self, names: list[str], end: float, prefix: str) -> set[str]:
        """Close the sessions of applications; return those that could not be closed in time."""
        told = False
        pause = threading.Event()
        while True:
            left = self._try_to_close(names)
            if not left or monotonic() > end:
                return left
            if not told:  # whoever waits for something of this program is told not to
                told = True
                self._cache.put(f"{prefix}/{CLOSED}", [b"closed"])
            pause.wait(0.05)

    def _try_to_close(self, names: list[str]) -> set[str]:
        from flame_remote._proto import frontend_pb2

        answer = self._cluster.call("ListSession", frontend_pb2.ListSessionRequest(), timeout=5.0)
        left = set()
        for session in answer.sessions:
            if session.spec.application in names and session.status.state == 0:
                session_id = session.metadata.id
                closing = self._cluster.close_session(session_id)
                if not self._cluster.connection.wait_for(closing, 5.0):
                    left.add(session_id)
        return left

    def _unregister(self, name: str) -> None:
        from flame_remote._proto import frontend_pb2

        request = frontend_pb2.UnregisterApplicationRequest(name=name)
        try:
            self._cluster.call("UnregisterApplication", request, timeout=5.0)
        except ClusterError as error:
            if error.code not in (FlameErrorCode.NOT_FOUND, FlameErrorCode.INVALID_STATE):
                raise

    # --- what others have left ----------------------------------------------------------

    def clean_in_background(self) -> None:
        """Remove what programs of this machine have left that were killed."""
        self._cleaning = threading.Thread(target=self._clean, name="flame-clean", daemon=True)
        self._cleaning.start()

    def _clean(self) -> None:
        try:
            for name in self.orphans():
                if self._ended.is_set():
                    return
                self._close_sessions([name], monotonic() + 1.0, prefix=f"{name}/{CLOSED}")
                self._cache.delete_all(name, timeout=5.0)
                self._unregister(name)
                _left_by_us.discard(name)
        except FlameError:
            pass  # the next program tries again

    def orphans(self) -> list[str]:
        """Return the applications whose programs ran on this machine and are no more."""
        from flame_remote._proto import frontend_pb2

        request = frontend_pb2.ListApplicationRequest()
        answer = self._cluster.call("ListApplication", request, timeout=10.0)
        return [
            application.metadata.name
            for application in answer.applications
            if application.metadata.name in _left_by_us or owners.is_orphan(application.spec.labels)
        ]


def _put_context(cache: Cache, program: Program) -> bytes:
    """Put what workers execute into the cache; return what sessions are opened with."""
    from flame_remote import __version__ as version
    from flame_remote.core.object_calls import payload_of, place_in, put

    digest, archive = bundle.archive()
    facts = {
        "python": sys.version_info[:2],
        "version": version,
        "digest": digest,
        "archive": archive,
        "inline_bytes": _INLINE_BYTES,
        "settings": program.to_dict(),
    }
    place = place_in(program.prefix(CODE))
    ref = put(place, payload_of(context_pickle(facts)), 60.0, cache.context)
    return ref.encode()


def _user() -> str:
    """Return the user's name as it may stand in the name of an application."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)[:40] or "nobody"


def _warn(text: str, *args: object) -> None:
    import logging

    logging.getLogger("flame_remote").warning(text, *args)


def start_engine(endpoint: str | None) -> ProgramEngine:
    """Start an engine on the cluster at `endpoint`, or at the one that the settings name.

    Raises what ProgramEngine.start raises.
    """
    from flame_remote.core.context import FlameContext

    context = FlameContext.load(endpoint)
    if endpoint is not None and context.origin("cache_endpoint") == "default":
        # A cluster that is named by its address has its object cache on the same host.
        host = context.endpoint.partition("://")[2].rpartition(":")[0]
        scheme = "grpcs" if context.endpoint.startswith("https") else "grpc"
        context = FlameContext.load(endpoint, f"{scheme}://{host}:9090")
    return ProgramEngine.start(context)
