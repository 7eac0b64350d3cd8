"""What arguments a function takes, as plain data that pickles, and a check at native speed."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter
from typing import Any


@dataclass(frozen=True, slots=True)
class CallSignature:
    """The parameters of a callable, without their defaults' values, which need not pickle.

    `text` is for people: "(x, *, k=1)". `positional` are the names that can be given by position,
    the first `positional_only` of them only so; the last `with_default` may be left out. The
    names in `optional_keywords` are those of `keyword_only` that may be left out.
    """

    text: str
    positional: tuple[str, ...]
    positional_only: int
    with_default: int
    keyword_only: tuple[str, ...]
    optional_keywords: tuple[str, ...]
    more_positional: str | None
    more_keywords: str | None

    @classmethod
    def of(cls, value: Callable[..., Any], *, bound: bool = False) -> CallSignature | None:
        """Read the signature of what will really be called; None where it cannot be known.

        `bound` leaves the first parameter out, which an instance fills.
        """
        try:
            # Not that of a wrapped function: the wrapper around it may take other arguments.
            signature = inspect.signature(value, follow_wrapped=False)
        except (ValueError, TypeError):  # many builtins have none
            return None
        parameters = list(signature.parameters.values())
        if bound and parameters:
            takes_any = parameters[0].kind is Parameter.VAR_POSITIONAL
            parameters = parameters if takes_any else parameters[1:]
        return cls._from(parameters)

    @classmethod
    def _from(cls, parameters: list[Parameter]) -> CallSignature:
        by_position = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        positional = [p for p in parameters if p.kind in by_position]
        keyword_only = [p for p in parameters if p.kind is Parameter.KEYWORD_ONLY]
        more = {p.kind: p.name for p in parameters}
        return cls(
            text=_text(parameters),
            positional=tuple(p.name for p in positional),
            positional_only=sum(p.kind is Parameter.POSITIONAL_ONLY for p in positional),
            with_default=sum(p.default is not Parameter.empty for p in positional),
            keyword_only=tuple(p.name for p in keyword_only),
            optional_keywords=tuple(
                p.name for p in keyword_only if p.default is not Parameter.empty
            ),
            more_positional=more.get(Parameter.VAR_POSITIONAL),
            more_keywords=more.get(Parameter.VAR_KEYWORD),
        )

    def stand_in(self, name: str) -> Callable[..., None]:
        """Make a function that takes the same arguments and does nothing.

        Calling it lets the interpreter check the arguments, in a tenth of a microsecond, and
        write the TypeError with `name` in it. No source is compiled: the names of parameters may
        be such that no source could hold them.
        """
        names = self.positional + self.keyword_only
        flags = _nothing.__code__.co_flags
        if self.more_positional is not None:
            names += (self.more_positional,)
            flags |= inspect.CO_VARARGS
        if self.more_keywords is not None:
            names += (self.more_keywords,)
            flags |= inspect.CO_VARKEYWORDS
        code = _nothing.__code__.replace(
            co_argcount=len(self.positional),
            co_posonlyargcount=self.positional_only,
            co_kwonlyargcount=len(self.keyword_only),
            co_varnames=names,
            co_nlocals=len(names),
            co_flags=flags,
            co_name=name,
        )
        function = types.FunctionType(code, {}, name, (None,) * self.with_default)
        function.__kwdefaults__ = dict.fromkeys(self.optional_keywords)
        function.__qualname__ = name
        return function


def anything(*args: Any, **kwargs: Any) -> None:
    """Stand in for a function whose signature cannot be known."""


def misfit(error: TypeError, name: str, signature: CallSignature | None) -> TypeError:
    """Return the error of a stand-in with the signature added."""
    return TypeError(
        f"{error} (signature: {name}{'(...)' if signature is None else signature.text})"
    )


def _nothing() -> None:
    pass


def _text(parameters: list[Parameter]) -> str:
    """Format parameters for people: no annotations, long defaults cut."""
    plain = [
        p.replace(annotation=Parameter.empty)
        if p.default is Parameter.empty
        else p.replace(annotation=Parameter.empty, default=_Shown(p.default))
        for p in parameters
    ]
    try:
        return str(inspect.Signature(plain))
    except ValueError:  # an odd `__signature__`
        return "(" + ", ".join(p.name for p in parameters) + ")"


class _Shown:
    """A default value as it is shown."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __repr__(self) -> str:
        try:
            text = repr(self._value)
        except Exception:  # the user's own __repr__
            return "..."
        return text if len(text) <= 40 else "..."
