"""Checks of the values that options may have, by type and range; CHECKS has one for each option."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from flame_remote._environment import checked_environment
from flame_remote._retry import Retry, exception_types
from flame_remote._sizes import size_in_bytes
from flame_remote.exceptions import InvalidOptionError

if TYPE_CHECKING:
    from flame_remote._cache import Cache


def whole_number(name: str, value: object, *, at_least: int) -> int:
    """Check an option that is a whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {_shown(value)}")
    if value < at_least:
        raise InvalidOptionError(f"{name} must be {at_least} or more, not {value!r}")
    return value


def amount(name: str, value: object) -> float:
    """Check an option that is an amount of a resource: a finite number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {_shown(value)}")
    if not 0 <= value < math.inf:
        raise InvalidOptionError(f"{name} must be 0 or more, not {value!r}")
    return value


def byte_count(name: str, value: object) -> int:
    """Check an option that is a number of bytes, or a size such as "512m" or "2g"."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(f"{name} must be bytes or a size such as '512m', not {_shown(value)}")
    size = size_in_bytes(value) if isinstance(value, str) else value
    if size is None or size < 0:
        raise InvalidOptionError(
            f"{name} must be bytes or a size such as '512m' or '2g', not {value!r}"
        )
    return size


def _gpus(name: str, value: object) -> float:
    number = amount(name, value)
    if number > 1 and number != int(number):
        raise InvalidOptionError(
            f"{name} must be a whole number, or less than 1 for a part of one GPU, not {value!r}"
        )
    return number


def resource_amounts(value: object, name: str = "resources") -> tuple[tuple[str, float], ...]:
    """Check the user's own resources; return them sorted by name."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict such as {{'license': 1}}, not {_shown(value)}")
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"{name} must have names as keys, not {_shown(key)}")
        if key in ("CPU", "GPU"):
            raise InvalidOptionError(f"{name} must not name {key!r}: use num_{key.lower()}s")
    return tuple((key, amount(f"{name}[{key!r}]", value[key])) for key in sorted(value))


def _retried(name: str, value: object) -> bool | tuple[type[BaseException], ...]:
    return value if isinstance(value, bool) else exception_types(name, value)


def _retry(name: str, value: object) -> Retry | None:
    if value is None or isinstance(value, Retry):
        return value
    raise TypeError(f"{name} must be a flame.Retry, e.g. Retry(3, delay=0.1), not {_shown(value)}")


def _seconds(name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds or None, not {_shown(value)}")
    if not 0 < value < math.inf:
        raise InvalidOptionError(f"{name} must be more than 0 seconds, not {value!r}")
    return value


def _priority(name: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number or None, not {_shown(value)}")
    return value


def _backpressure(name: str, value: object) -> int | None:
    return None if value is None else whole_number(name, value, at_least=1)


def _cache(name: str, value: object) -> Cache | None:
    from flame_remote._cache import checked_cache  # few functions have one

    return checked_cache(name, value)


def _concurrency_groups(name: str, value: object) -> tuple[tuple[str, int], ...]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict such as {{'io': 2}}, not {_shown(value)}")
    for key in value:
        _name(f"a name in {name}", key)
    return tuple(
        (key, whole_number(f"{name}[{key!r}]", value[key], at_least=1)) for key in sorted(value)
    )


def _pending_calls(name: str, value: object) -> int:
    if value is None or value == -1:
        return -1
    return whole_number(name, value, at_least=1)


def _replicas(name: str, value: object) -> tuple[int, int]:
    if not isinstance(value, tuple):
        number = whole_number(name, value, at_least=1)
        return number, number
    if len(value) != 2:
        raise InvalidOptionError(
            f"{name} must be a number or two, such as 4 or (1, 4), not {value!r:.50}"
        )
    least = whole_number(f"the first of {name}", value[0], at_least=1)
    return least, whole_number(f"the second of {name}", value[1], at_least=least)


def _name(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {_shown(value)}")
    if not value:
        raise InvalidOptionError(f"{name} must not be empty")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {_shown(value)}")
    return value


def _lifetime(name: str, value: object) -> str | None:
    if value is None or value == "non_detached":
        return None
    if value == "detached":
        return "detached"
    raise InvalidOptionError(f"{name} must be None, 'non_detached' or 'detached', not {value!r}")


def _shown(value: object) -> str:
    return f"{type(value).__name__} ({value!r:.50})"


_NUMBER: Final = partial(whole_number, at_least=0)
_POSITIVE: Final = partial(whole_number, at_least=1)
_OR_ENDLESS: Final = partial(whole_number, at_least=-1)

CHECKS: Final[Mapping[str, Callable[[str, object], Any]]] = {
    "cache": _cache,
    "num_cpus": amount,
    "num_gpus": _gpus,
    "memory": byte_count,
    "runtime_env": checked_environment,
    "resources": lambda name, value: resource_amounts(value, name),
    "max_retries": _OR_ENDLESS,
    "max_concurrency": _POSITIVE,
    "name": _name,
    "num_returns": _NUMBER,
    "retry_exceptions": _retried,
    "retries": _retry,
    "timeout": _seconds,
    "deadline": _seconds,
    "priority": _priority,
    "backpressure": _backpressure,
    "max_calls": _NUMBER,
    "namespace": _name,
    "get_if_exists": _flag,
    "lifetime": _lifetime,
    "max_restarts": _OR_ENDLESS,
    "max_task_retries": _OR_ENDLESS,
    "checkpoint_every": _POSITIVE,
    "concurrency_group": _name,
    "concurrency_groups": _concurrency_groups,
    "max_pending_calls": _pending_calls,
    "replicas": _replicas,
}
