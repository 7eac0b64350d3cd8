"""Runner: the services of one application, and what must be cleaned up after them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, overload

from flame_remote._deadline import Deadline
from flame_remote._own_frames import seen_from_here
from flame_remote._refs import ObjectRef
from flame_remote._wire.packing import pack
from flame_remote.engine import Engine
from flame_remote.exceptions import FlameError, RefMisuseError

from . import at_exit
from .handles import FunctionHandle, InstanceHandle, ServiceHandle
from .open_services import OpenServices
from .resources import Resources
from .results import get_all, in_completion_order, join_all, listed
from .session_context import check_name

if TYPE_CHECKING:
    from .application import Application

# How long sessions on a cluster may take to close, beyond calls that are waited for.
_PATIENCE_SECONDS: Final = 30.0
_SHORT_PATIENCE_SECONDS: Final = 5.0

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Runner:
    """Runs functions, classes and instances of yours as services. Safe to use from any thread.

    `with Runner("app") as runner:` ends the services at the end of the block; without `with`, call
    `close()`. It uses the engine that is running, or starts the default one.

    On a Flame cluster the constructor packs the current folder, uploads it and registers an
    application of the Runner's name; `close`, or the exit of the interpreter, takes all that back.
    An application that was there before is used as it is, and left as it is, together with the
    sessions that objects have chosen by name. On the other engines there is nothing to pack.
    """

    def __init__(
        self,
        name: str,
        fail_if_exists: bool = False,
        dependencies: Sequence[str] | None = None,
        python_version: str | None = None,
    ) -> None:
        """Start. On a Flame cluster this blocks until the application is registered.

        Args:
            name: the name of the application, 1 to 128 characters.
            fail_if_exists: raise if the cluster has an application of that name already.
            dependencies: what workers must install, e.g. `["numpy>=2"]`; on a cluster only.
            python_version: the Python of the workers, e.g. "3.12"; on a cluster only.

        Raises:
            InvalidOptionError: the name, a dependency or the version is none.
            ClusterError: the cluster refuses, or the package cannot be stored.
            ConnectError: there is no cluster at its address.
        """
        # Constant after construction.
        self.name = check_name("the name of a Runner", name)
        self._engine = _running_engine()
        self._application: Application | None = None
        if (cluster := self._engine.cluster) is not None:
            from .application import Application

            self._application = Application.open(
                cluster,
                name,
                fail_if_exists=fail_if_exists,
                dependencies=dependencies,
                python_version=python_version,
            )
        is_guest = self._application is not None and not self._application.is_ours
        self._services = OpenServices(self._engine, name, may_share_sessions=is_guest)
        if self._application is not None:
            at_exit.close_at_exit(self)

    # --- services ---

    @overload
    def service(  # type: ignore[overload-overlap]
        self,
        target: type[Any],
        stateful: bool | None = None,
        autoscale: bool | None = None,
        warmup: int = 0,
        resreq: Resources | None = None,
    ) -> InstanceHandle: ...
    @overload
    def service(  # type: ignore[overload-overlap]
        self,
        target: Callable[P, R],
        stateful: bool | None = None,
        autoscale: bool | None = None,
        warmup: int = 0,
        resreq: Resources | None = None,
    ) -> FunctionHandle[P, R]: ...
    @overload
    def service(
        self,
        target: object,
        stateful: bool | None = None,
        autoscale: bool | None = None,
        warmup: int = 0,
        resreq: Resources | None = None,
    ) -> InstanceHandle: ...

    def service(
        self,
        target: Any,
        stateful: bool | None = None,
        autoscale: bool | None = None,
        warmup: int = 0,
        resreq: Resources | None = None,
    ) -> Any:
        """Make a service of a function, a class or an instance.

        A function's service is called as the function; the service of a class or an instance has
        its public methods. A call returns an ObjectFuture at once; a future among its arguments
        stands for its value, which nobody has to fetch.

        Args:
            target: the function, the class (workers make `target()`), or the instance, of which
                workers get a copy.
            stateful: save the instance after each call, so that its state outlives its worker.
                For instances only; default False.
            autoscale: True for as many instances as calls need, False for a fixed number; default
                True for a function, False for a class or an instance.
            warmup: how many instances to start ahead; with `autoscale=False` how many there are.
            resreq: what one instance takes, a ResourceRequirement or e.g. "cpu=1,mem=1g".

        Returns:
            The service. With a `_session_context` on the target that names a session which this
            Runner has open, that same service.

        Raises:
            InvalidOptionError: the options do not go together.
            SerializationError: the target holds something that cannot travel.
            UnschedulableError: the engine can never meet `resreq`.
            EngineClosedError: the Runner was closed.
            ClusterError: the cluster refuses the service.
        """
        try:
            return self._services.open(target, stateful, autoscale, warmup, resreq)
        except Exception as error:
            raise seen_from_here(error)  # noqa: B904  the same error

    # --- objects and futures ---

    def put_object(self, value: T) -> ObjectRef[T]:
        """Store a value once, for many calls; passed to a call, the value arrives in its place.

        Args:
            value: anything that pickles.

        Raises:
            SerializationError: the value cannot travel; says which part.
            RefMisuseError: the value is a future already.
        """
        if type(value) is ObjectRef:
            raise RefMisuseError(
                "put_object() takes a value; this is an ObjectFuture already: use it as it is"
            )
        try:
            packed = pack(value, lambda: f"the {type(value).__name__} given to put_object()")
            return self._engine.put(packed)
        except Exception as error:
            raise seen_from_here(error)  # noqa: B904  the same error

    def get(self, futures: Iterable[ObjectRef[T]], timeout: float | None = None) -> list[T]:
        """Wait for values and return them in order; raise the first failure as soon as it is known.

        Args:
            futures: what calls of services returned.
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            GetTimeoutError: the time is over; the calls go on.
            TaskError: a call raised; also an instance of the exception's own type.
            RefMisuseError: something among `futures` is no future.
        """
        try:
            return get_all(listed(futures, "get"), Deadline(timeout))
        except Exception as error:
            raise seen_from_here(error)  # noqa: B904  the same error

    def ref(self, futures: Iterable[ObjectRef[Any]], timeout: float | None = None) -> list[Any]:
        """Return for each future a reference that can be passed on; see ObjectRef.ref.

        Args:
            futures: what calls of services returned.
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            GetTimeoutError: the time is over; the calls go on.
            TaskError: a call raised; also an instance of the exception's own type.
            RefMisuseError: something among `futures` is no future.
        """
        deadline = Deadline(timeout)
        refs = listed(futures, "ref")
        return [self._engine.reference_to(ref, deadline) for ref in refs]

    def wait(self, futures: Iterable[ObjectRef[Any]], timeout: float | None = None) -> None:
        """Wait until all have ended; raise the first failure. Fetches no values.

        Args:
            futures: what calls of services returned.
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            GetTimeoutError: the time is over; the calls go on.
            TaskError: a call raised; also an instance of the exception's own type.
            RefMisuseError: something among `futures` is no future.
        """
        try:
            join_all(listed(futures, "wait"), Deadline(timeout))
        except Exception as error:
            raise seen_from_here(error)  # noqa: B904  the same error

    def select(
        self, futures: Iterable[ObjectRef[T]], timeout: float | None = None
    ) -> Iterator[ObjectRef[T]]:
        """Yield each future as it ends, whether with a value or an error; one given twice, once.

        Args:
            futures: what calls of services returned.
            timeout: seconds from now that all may take; None waits as long as it takes.

        Raises:
            GetTimeoutError: the time is over; the calls go on.
            RefMisuseError: something among `futures` is no future.
        """
        return in_completion_order(listed(futures, "select"), Deadline(timeout))

    # --- the end ---

    def close(self) -> None:
        """End the services, and on a Flame cluster take back what this Runner has put there.

        Calls that services have taken go on, and their futures stay good; on a cluster this waits
        for them. May be called twice.

        Raises:
            ClusterError: something could not be taken back; says what is left and how to remove it.
        """
        self._close(ServiceHandle.close)

    def close_at_exit(self) -> None:
        """Close without waiting for calls: on a cluster they are cancelled. Logs what fails."""
        try:
            self._close(ServiceHandle._flame_abandon, patience=_SHORT_PATIENCE_SECONDS)
        except FlameError as error:
            import logging

            logging.getLogger("flame_remote").warning("%s", error)

    def _close(
        self, end: Callable[[ServiceHandle], None], patience: float = _PATIENCE_SECONDS
    ) -> None:
        services = self._services.take_all()
        if services is None:
            return
        at_exit.forget(self)
        errors: list[Exception] = []
        for service in services:
            try:
                end(service)
            except Exception as error:
                errors.append(error)
        if self._application is not None:
            self._application.close(errors, patience)
        if errors:
            raise errors[0]

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:  # nobody waits for results any more
            self.close_at_exit()

    def __repr__(self) -> str:
        return f"<Runner {self.name}: {self._services!r}>"


def _running_engine() -> Engine:
    from flame_remote._session import ensure_engine  # from above: starts what is not running yet

    return ensure_engine()
