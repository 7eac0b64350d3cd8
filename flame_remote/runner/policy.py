"""How many instances of a target there are, and whether their state outlives their workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from flame_remote._option_checks import whole_number
from flame_remote.exceptions import InvalidOptionError

from .subject import Subject, SubjectKind

_AUTOSCALES_BY_DEFAULT: Final[Mapping[SubjectKind, bool]] = {
    SubjectKind.FUNCTION: True,  # has no state, so calls may run anywhere
    SubjectKind.CLASS: False,
    SubjectKind.INSTANCE: False,
}
_CANNOT_BE_STATEFUL: Final[Mapping[SubjectKind, str]] = {
    SubjectKind.FUNCTION: "a function has no state: pass an instance of a class",
    SubjectKind.CLASS: "a class has no state yet: pass an instance, {name}(...)",
}


@dataclass(frozen=True, slots=True)
class Policy:
    """How a service is run.

    There are `min_instances` from the start and at most `max_instances`, None for as many as there
    is room for. With `autoscale` the number follows demand, without it is fixed.
    """

    autoscale: bool
    min_instances: int
    max_instances: int | None
    stateful: bool = False

    @classmethod
    def of(
        cls,
        subject: Subject,
        stateful: bool | None = None,
        autoscale: bool | None = None,
        warmup: int = 0,
    ) -> Policy:
        """Settle what the user left open; see Runner.service for the arguments.

        Raises:
            InvalidOptionError: the options do not go together, or not with the kind of subject.
            TypeError: an option is of the wrong type.
        """
        warmup = whole_number("warmup", warmup, at_least=0)
        for name, value in (("stateful", stateful), ("autoscale", autoscale)):
            if value is not None and not isinstance(value, bool):
                raise TypeError(f"{name} must be True, False or None, not {value!r:.50}")
        if autoscale is None:
            autoscale = _AUTOSCALES_BY_DEFAULT[subject.kind]
        if stateful:
            _check_stateful(subject, autoscale, warmup)
        if autoscale:
            return cls(True, warmup, None)
        return cls(False, warmup or 1, warmup or 1, bool(stateful))

    def __str__(self) -> str:
        most = self.max_instances
        if most == self.min_instances:
            text = "1 instance" if most == 1 else f"{most} instances"
        else:
            text = f"{self.min_instances} to {'any number of' if most is None else most} instances"
        return text + (", stateful" if self.stateful else "")


def _check_stateful(subject: Subject, autoscale: bool, warmup: int) -> None:
    if (reason := _CANNOT_BE_STATEFUL.get(subject.kind)) is not None:
        raise InvalidOptionError(
            f"stateful=True does not go with {subject.kind.value} {subject.name}: "
            + reason.format(name=subject.name)
        )
    if autoscale or warmup > 1:
        option = "autoscale=True" if autoscale else f"warmup={warmup}"
        raise InvalidOptionError(
            f"stateful=True does not go with {option}: several instances of {subject.name} would "
            "overwrite each other's state; leave one of the two out"
        )
