"""What Runner.service returns: called as a function, or with the methods of an instance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, Protocol, TypeVar, overload

from flame_remote import _current
from flame_remote._actor_facts import MethodFacts
from flame_remote._current import require_usable
from flame_remote._options import nearest
from flame_remote._own_frames import seen_from_here
from flame_remote._refs import ObjectRef
from flame_remote._signature import CallSignature, anything, misfit
from flame_remote.engine import Engine
from flame_remote.exceptions import EngineClosedError, FlameError, SerializationError

from .policy import Policy
from .subject import Subject
from .under_way import CallsUnderWay

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Backend(Protocol):
    """What a handle hands its calls to."""

    engine: Engine

    def submit(
        self, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ObjectRef[Any]:
        """Hand over one call; `method` is "" for a function."""
        ...

    def close(self) -> None:
        """End the service, all of whose calls have ended where that matters."""
        ...

    def abandon(self) -> None:
        """End the service without waiting for anybody."""
        ...


class ServiceHandle:
    """A service of a Runner. Safe to use from any thread.

    Everything but `close` lies under names with an underscore, as the other names are the user's.
    """

    def __init__(self, subject: Subject, policy: Policy, session_id: str, backend: Backend) -> None:
        # Constant after construction.
        self._flame_subject = subject
        self._flame_policy = policy
        self._flame_session_id = session_id
        self._flame_backend = backend
        # On a cluster, calls need the session of their service until they end.
        self._flame_under_way = None if backend.engine.cluster is None else CallsUnderWay()
        self._flame_closed = False  # set once

    def close(self) -> None:
        """End the service: it takes no more calls. Calls that it has taken go on.

        May be called twice. On a Flame cluster this closes the session, so it waits until those
        calls have ended; a warning tells of that after some seconds.

        Raises:
            ClusterError: the cluster did not close the session, or does not answer.
        """
        if self._flame_stop() and self._flame_under_way is not None:
            self._flame_under_way.wait(f"the service of {self._flame_subject.article}")
        self._flame_backend.close()

    def _flame_abandon(self) -> None:
        """End the service and cancel its calls, without waiting for anybody."""
        if self._flame_stop() and self._flame_under_way is not None:
            self._flame_under_way.cancel()
        self._flame_backend.abandon()

    def _flame_stop(self) -> bool:
        """Take no more calls; return whether there may be some under way."""
        self._flame_closed = True
        return self._flame_backend.engine is _current.engine

    def _flame_submit(
        self, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ObjectRef[Any]:
        backend = self._flame_backend
        if self._flame_closed:
            raise EngineClosedError(
                f"the service of {self._flame_subject.article} was closed; "
                "make another with runner.service(...)"
            )
        require_usable(backend.engine, f"the service of {self._flame_subject.article}")
        ref = backend.submit(method, args, kwargs)
        if self._flame_under_way is not None:
            self._flame_under_way.add(ref)
        return ref

    def __repr__(self) -> str:
        state = "closed" if self._flame_closed else str(self._flame_policy)
        return f"<service {self._flame_session_id} of {self._flame_subject.article}: {state}>"

    def __reduce__(self) -> NoReturn:
        raise SerializationError(
            f"the service of {self._flame_subject.article} stays in the process that made it; "
            "pass what its calls return, or make a Runner inside the task"
        )


class FunctionHandle(ServiceHandle, Generic[P, R_co]):
    """A service of a function: `service(x)` starts a call and returns at once."""

    def __init__(self, subject: Subject, policy: Policy, session_id: str, backend: Backend) -> None:
        super().__init__(subject, policy, session_id, backend)
        self._flame_check = _check_of(subject.signature, subject.name)

    if TYPE_CHECKING:
        # As RemoteFunction.remote: a ref may stand for any of the first four arguments.
        @overload
        def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> ObjectRef[R_co]: ...
        @overload
        def __call__(self, a: ObjectRef[Any], /, *args: Any, **kwargs: Any) -> ObjectRef[R_co]: ...
        @overload
        def __call__(
            self, a: Any, b: ObjectRef[Any], /, *args: Any, **kwargs: Any
        ) -> ObjectRef[R_co]: ...
        @overload
        def __call__(
            self, a: Any, b: Any, c: ObjectRef[Any], /, *args: Any, **kwargs: Any
        ) -> ObjectRef[R_co]: ...
        @overload
        def __call__(
            self, a: Any, b: Any, c: Any, d: ObjectRef[Any], /, *args: Any, **kwargs: Any
        ) -> ObjectRef[R_co]: ...

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Start a call and return at once, with the ref of what it will return.

        Args:
            args: the function's positional arguments; a ref stands for its value.
            kwargs: the function's keyword arguments; a ref stands for its value.

        Raises:
            TypeError: the arguments do not fit the function's signature.
            SerializationError: an argument cannot travel.
            EngineClosedError: the service or the engine was closed.
        """
        subject = self._flame_subject
        try:
            self._flame_check(*args, **kwargs)
        except TypeError as error:
            raise misfit(error, subject.name, subject.signature) from None
        try:
            return self._flame_submit("", args, kwargs)
        except FlameError as error:
            raise seen_from_here(error)  # noqa: B904  the same error


class InstanceHandle(ServiceHandle):
    """A service of an instance: `service.method(x)` starts a call of a method.

    The public methods of the instance are attributes; `service["close"]` is the instance's own
    `close`, as `service.close()` ends the service.
    """

    def __getitem__(self, name: str) -> ServiceMethod:
        """Return a method of the instance by its name.

        Raises:
            AttributeError: the instance has no such method.
        """
        facts = self._flame_subject.methods.get(name)
        if facts is None:
            raise AttributeError(_no_method(self._flame_subject, name))
        return ServiceMethod(self, name, facts)

    def __getattr__(self, name: str) -> ServiceMethod:
        if name.startswith("_"):  # an ordinary answer to who probes for hooks
            raise AttributeError(name)
        made = self[name]
        self.__dict__[name] = made  # where the next use finds it at once
        return made

    def __call__(self, /, *args: Any, **kwargs: Any) -> ObjectRef[Any]:
        """Start a call of the instance itself, if it can be called."""
        if "__call__" not in self._flame_subject.methods:
            raise TypeError(
                f"{self!r} is not called itself: call one of its methods; "
                + _listed_methods(self._flame_subject)
            )
        return self["__call__"](*args, **kwargs)

    def __dir__(self) -> list[str]:
        return sorted({*dir(type(self)), *self._flame_subject.methods})


class ServiceMethod:
    """A method of the instance behind a service. Constant after construction."""

    def __init__(self, service: InstanceHandle, name: str, facts: MethodFacts) -> None:
        self.__name__ = name
        self.__qualname__ = f"{service._flame_subject.name}.{name}"
        self.__doc__ = facts.doc
        self._service = service
        self._signature = facts.signature
        self._check = _check_of(facts.signature, self.__qualname__)

    def __call__(self, /, *args: Any, **kwargs: Any) -> ObjectRef[Any]:
        """Start a call of the method and return at once, with the ref of what it will return.

        Args:
            args: the method's positional arguments; a ref stands for its value.
            kwargs: the method's keyword arguments; a ref stands for its value.

        Raises:
            TypeError: the arguments do not fit the method's signature.
            SerializationError: an argument cannot travel.
            EngineClosedError: the service or the engine was closed.
        """
        try:
            self._check(*args, **kwargs)
        except TypeError as error:
            raise misfit(error, self.__qualname__, self._signature) from None
        try:
            return self._service._flame_submit(self.__name__, args, kwargs)
        except FlameError as error:
            raise seen_from_here(error)  # noqa: B904  the same error

    def __repr__(self) -> str:
        return f"<service method {self.__qualname__}>"


def _check_of(signature: CallSignature | None, name: str) -> Callable[..., None]:
    return anything if signature is None else signature.stand_in(name)


def _no_method(subject: Subject, name: str) -> str:
    if hasattr(subject.value, name):
        return (
            f"{name!r} of {subject.article} is no public method, and a service has nothing else: "
            f"add a method that returns it; {_listed_methods(subject)}"
        )
    hint = nearest(name, subject.methods)
    return f"{subject.article} has no method {name!r}{hint}; {_listed_methods(subject)}"


def _listed_methods(subject: Subject) -> str:
    return f"methods: {', '.join(subject.methods) or 'none'}"
