"""Classes whose instances can live in a worker: what the decorator makes of them."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar, cast

from flame_remote._actor_facts import ActorFacts
from flame_remote._handle import ActorHandle
from flame_remote._handle_terms import HandleTerms, check_groups
from flame_remote._named_actors import check_name, make_named
from flame_remote._options import (
    CONCURRENCY_OF_ASYNC_ACTORS,
    ActorOptions,
    ActorOptionsDict,
    changed,
)
from flame_remote._own_frames import seen_from_here
from flame_remote._registry import service_of
from flame_remote._replicas import Replicas
from flame_remote._session import ensure_engine
from flame_remote._signature import anything, misfit
from flame_remote.exceptions import FlameError
from flame_remote.runner.source import Source, by_name

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from flame_remote.runner.service import ActorService

T_co = TypeVar("T_co", covariant=True)


class ActorClass(Generic[T_co]):
    """A class whose instances can live elsewhere: `C.remote(...)` makes one there, `C(...)` here.

    Constant after construction. Safe to use from any thread.
    """

    __name__: str
    __qualname__: str
    __wrapped__: type[T_co]
    _flame_instead_of_ref: Final = (
        "the remote class {name}: get what a method of a handle returns, "
        "e.g. {name}.remote().method.remote()"
    )

    def __init__(self, source: Source, options: ActorOptions) -> None:
        functools.update_wrapper(self, source.value, updated=())
        self._set_up(source, options, ActorFacts.of(cast(type, source.value)))

    def _set_up(self, source: Source, options: ActorOptions, facts: ActorFacts) -> None:
        self._source = source
        self._options = options
        self._facts = facts
        check_groups(facts, options)
        signature = source.signature
        self._check = anything if signature is None else signature.stand_in(source.name)

    def __call__(self, *args: Any, **kwargs: Any) -> T_co:
        """Make an ordinary instance here, in this process."""
        return cast(T_co, self._source.value(*args, **kwargs))

    local = __call__

    def remote(self, /, *args: Any, **kwargs: Any) -> ActorHandle[T_co]:
        """Make an instance in a worker; return at once, with a handle for calling its methods.

        The instance lives as long as a handle of it does. An error of the constructor is raised by
        the first call that is got.

        Args:
            args: the constructor's positional arguments; a ref stands for its value.
            kwargs: the constructor's keyword arguments; a ref stands for its value.

        Raises:
            TypeError: the arguments do not fit the constructor's signature.
            SerializationError: an argument, or something the class uses, cannot travel.
            UnschedulableError: the engine can never meet the class's options.
            ActorAlreadyExistsError: an actor of the name that the options give lives already.
        """
        try:
            self._check(*args, **kwargs)
        except TypeError as error:
            raise misfit(error, self._source.name, self._source.signature) from None
        try:
            options = self._final_options()
            service = service_of(ensure_engine(), self._source, options)
            terms = HandleTerms.of(options, self._facts)
            check_name(options, f"the class {self._source.name}")
            if options.name:
                named = cast("ActorService", service)
                return make_named(named, options, self._facts, terms, args, kwargs)
            if terms is not None and options.replicas != (1, 1):
                terms.replicas = Replicas.start(service, options.replicas, args, kwargs)
                instance = terms.replicas.refs()[0]
            else:
                instance = service.submit(args, kwargs)
            return ActorHandle(instance, self._facts, terms=terms)
        except FlameError as error:
            raise seen_from_here(error)  # noqa: B904  the same error

    def options(self, **options: Unpack[ActorOptionsDict]) -> ActorClass[T_co]:
        """Return the same class under other options; this one stays as it is.

        Args:
            options: see ActorOptions; those not given stay.

        Raises:
            InvalidOptionError: an option is unknown or out of range.
            TypeError: an option is of the wrong type.
        """
        new = ActorClass.__new__(ActorClass)
        functools.update_wrapper(new, self._source.value, updated=())
        what = f"the class {self._source.name}"
        new._set_up(self._source, changed(self._options, options, what), self._facts)
        return new

    def _final_options(self) -> ActorOptions:
        """Return the options with what the class decides filled in."""
        if self._options.max_concurrency:
            return self._options
        most = CONCURRENCY_OF_ASYNC_ACTORS if self._facts.has_async_methods else 1
        return replace(self._options, max_concurrency=most)

    # --- still a class, for code that uses it as one ---

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_source":  # an ordinary answer to who probes for hooks
            raise AttributeError(name)
        return getattr(self._source.value, name)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, cast(type, self._source.value))

    def __mro_entries__(self, bases: tuple[Any, ...]) -> NoReturn:
        name = self._source.name
        raise TypeError(
            f"{name} is a remote class and cannot be subclassed: "
            f"subclass the undecorated class, {name}.__wrapped__, and decorate the subclass"
        )

    def __repr__(self) -> str:
        return f"<remote class {self._source.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        if (name := by_name(self)) is not None:
            return name.__reduce__()
        # A skeleton first and its contents later: the methods of a class may name the class.
        value = self._source.value
        about = {
            "__module__": value.__module__,
            "__qualname__": value.__qualname__,
            "__doc__": value.__doc__,
        }
        return (
            _skeleton,
            (),
            (
                by_name(value) or value,
                self._source.name,
                about,
                self._options,
                self._source.signature,
                self._facts,
            ),
        )

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        value, name, about, options, signature, facts = state
        vars(self).update(about, __name__=name, __wrapped__=value)
        self._set_up(Source(value, name, signature), options, facts)


def _skeleton() -> ActorClass[Any]:
    return ActorClass.__new__(ActorClass)
