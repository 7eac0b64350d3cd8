"""Handles of instances that live in a worker, and their methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, ParamSpec, TypeVar

from flame_remote import _current
from flame_remote._actor_facts import ActorFacts, MethodFacts
from flame_remote._current import require_usable
from flame_remote._handle_terms import HandleTerms, check_group
from flame_remote._ids import show
from flame_remote._options import MethodOptions, MethodOptionsDict, changed, nearest
from flame_remote._own_frames import seen_from_here
from flame_remote._refs import ObjectRef
from flame_remote._replicas import ReplicatedMethod
from flame_remote._signature import anything, misfit
from flame_remote.exceptions import FlameError, InvalidOptionError
from flame_remote.runner.service import MethodService

if TYPE_CHECKING:
    from typing_extensions import Unpack

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
T_co = TypeVar("T_co", covariant=True)


class ActorHandle(Generic[T_co]):
    """Stands for an instance in a worker: `handle.method.remote(...)` calls it there.

    The calls of one caller run in the order they were made. The instance lives as long as a handle
    does, in any process; a handle can be passed to tasks and kept in objects. Compared by instance.
    """

    _flame_instead_of_ref: Final = (
        "the handle of an actor: get what one of its methods returns, handle.method.remote(...)"
    )

    # Beside these, methods that were used lie in __dict__, where the next use finds them at once.
    # They hold the ref and not the handle: a cycle would keep the instance alive.
    _flame_ref: ObjectRef[Any]
    _flame_facts: ActorFacts
    _flame_label: str
    _flame_terms: HandleTerms | None

    def __init__(
        self,
        ref: ObjectRef[Any],
        facts: ActorFacts,
        label: str = "",
        terms: HandleTerms | None = None,
    ) -> None:
        self._flame_ref = ref
        self._flame_facts = facts
        self._flame_label = label
        self._flame_terms = terms
        self.__doc__ = facts.doc

    def __del__(self) -> None:
        ref = self.__dict__.get("_flame_ref")
        if ref is not None:
            ref._engine.handle_died()

    def __getattr__(self, name: str) -> ActorMethod[..., Any]:
        facts: ActorFacts | None = self.__dict__.get("_flame_facts")
        method = None if facts is None else facts.methods.get(name)
        if facts is None or method is None:
            if facts is None or (name.startswith("__") and name.endswith("__")):
                raise AttributeError(name)  # an ordinary answer to who probes for hooks
            public = [known for known in facts.methods if not known.startswith("_")]
            raise AttributeError(
                f"{facts.name} has no remote method {name!r}{nearest(name, public)}; "
                f"methods: {', '.join(public) or 'none'}"
            )
        made: ActorMethod[..., Any] = ActorMethod(
            self._flame_ref,
            self._flame_label or facts.name,
            name,
            method,
            method.options or MethodOptions(),
            self._flame_terms,
        )
        self.__dict__[name] = made
        return made

    def __dir__(self) -> list[str]:
        return sorted({*dir(object), *self._flame_facts.methods})

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"{self!r} is the handle of an instance: use handle.method.remote(...)")

    def _flame_kill(self, may_restart: bool) -> None:
        """End the instance at once; of several all."""
        replicas = None if self._flame_terms is None else self._flame_terms.replicas
        if replicas is None:
            self._flame_ref._engine.kill(self._flame_ref._id, may_restart=may_restart)
            return
        replicas.stop_growing()
        for ref in replicas.refs():
            ref._engine.kill(ref._id, may_restart=may_restart)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ActorHandle):
            return self._flame_ref == other._flame_ref
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._flame_ref)

    def __repr__(self) -> str:
        return f"<actor {self._flame_label or self._flame_facts.name} {show(self._flame_ref._id)}>"

    def __copy__(self) -> ActorHandle[T_co]:
        return self

    def __deepcopy__(self, memo: object) -> ActorHandle[T_co]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorHandle, (
            self._flame_ref,
            self._flame_facts,
            self._flame_label,
            self._flame_terms,
        )


class ActorMethod(Generic[P, R_co]):
    """A method of an instance in a worker. Constant after construction."""

    _flame_instead_of_ref: Final = (
        "the method {name} of an actor: get what {name}.remote(...) returns"
    )

    def __init__(
        self,
        instance: ObjectRef[Any],
        actor_name: str,
        name: str,
        facts: MethodFacts,
        options: MethodOptions,
        terms: HandleTerms | None = None,
    ) -> None:
        self.__name__ = name
        self.__qualname__ = f"{actor_name}.{name}"
        self.__doc__ = facts.doc
        self._instance = instance
        self._actor_name = actor_name
        self._facts = facts
        self._options = options
        signature = facts.signature
        self._check = anything if signature is None else signature.stand_in(self.__qualname__)
        self._terms = terms
        if options.concurrency_group:
            known = () if terms is None else terms.groups
            check_group(f"the method {self.__qualname__}", options.concurrency_group, known)
        self._service: MethodService | ReplicatedMethod = (
            MethodService(instance, actor_name, name, signature, options)
            if terms is None
            else terms.service(instance, actor_name, name, facts, options)
        )
        if facts.makes_items and options.num_returns == 1:
            self._set_up_stream()
        elif options.backpressure is not None:
            raise InvalidOptionError(
                f"the method {self.__qualname__} cannot have backpressure: that is for generator "
                "methods whose items come one by one"
            )

    def _set_up_stream(self) -> None:
        """Make calls return a generator of refs; see `_streamed_calls.py`."""
        from flame_remote._streamed_calls import check_stream_options

        check_stream_options(self.__qualname__, self._options)
        self.remote = self._start_stream  # type: ignore[method-assign]

    def _start_stream(self, /, *args: Any, **kwargs: Any) -> Any:
        """Start the generator in the instance's worker; return an ObjectRefGenerator at once.

        Each item is a call of its own: other calls of the instance come between.
        """
        from flame_remote._far_ends import MethodEnd
        from flame_remote._streamed_calls import start_method_stream

        signature = self._facts.signature
        try:
            self._check(*args, **kwargs)
        except TypeError as error:
            raise misfit(error, self.__qualname__, signature) from None
        try:
            require_usable(self._service.engine, f"the actor {self._actor_name}")
            threaded = self._terms is not None and self._terms.several
            name, options = self.__name__, self._options
            replicas = None if self._terms is None else self._terms.replicas
            instance = self._instance if replicas is None else replicas.choose().ref
            far = MethodEnd(instance, self._actor_name, name, options, threaded)
            return start_method_stream(far, signature, self._options, args, kwargs)
        except FlameError as error:
            raise seen_from_here(error)  # noqa: B904  the same error

    def remote(self, /, *args: P.args, **kwargs: P.kwargs) -> ObjectRef[R_co]:
        """Start a call of the method in the instance's worker; return at once, with a ref.

        Args:
            args: the method's positional arguments; a ref stands for its value.
            kwargs: the method's keyword arguments; a ref stands for its value.

        Raises:
            TypeError: the arguments do not fit the method's signature.
            SerializationError: an argument cannot travel.
            SessionEndedError: the instance belongs to a session that has ended.
            PendingCallsLimitError: no more calls may be made through this handle now.
        """
        try:
            self._check(*args, **kwargs)
        except TypeError as error:
            raise misfit(error, self.__qualname__, self._facts.signature) from None
        try:
            service = self._service
            if service.engine is not _current.engine:
                require_usable(service.engine, f"the actor {self._actor_name}")
            return service.submit(args, kwargs)
        except FlameError as error:
            raise seen_from_here(error)  # noqa: B904  the same error

    def options(self, **options: Unpack[MethodOptionsDict]) -> ActorMethod[P, R_co]:
        """Return the same method under other options.

        Args:
            options: see MethodOptions; those not given stay.

        Raises:
            InvalidOptionError: an option is unknown or out of range.
            TypeError: an option is of the wrong type.
        """
        new = changed(self._options, options, f"the method {self.__qualname__}")
        return ActorMethod(
            self._instance, self._actor_name, self.__name__, self._facts, new, self._terms
        )

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"{self.__qualname__} runs in another process: "
            f"use handle.{self.__name__}.remote(...) and flame.get() what it returns"
        )

    def __repr__(self) -> str:
        return f"<remote method {self.__qualname__}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorMethod, (
            self._instance,
            self._actor_name,
            self.__name__,
            self._facts,
            self._options,
            self._terms,
        )
