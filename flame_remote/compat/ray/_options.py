"""Ray's options as flame's: renamed, checked, or refused by name.

An option that cannot matter on one machine is taken and has no effect. One that would change what a
program computes, or where, and cannot be had is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

COMMON: Final = (
    "accelerator_type",
    "enable_task_events",
    "fallback_strategy",
    "label_selector",
    "memory",
    "name",
    "num_cpus",
    "num_gpus",
    "object_store_memory",
    "placement_group",
    "placement_group_bundle_index",
    "placement_group_capture_child_tasks",
    "resources",
    "runtime_env",
    "scheduling_strategy",
    "_labels",
)
TASK: Final = (
    *COMMON,
    "max_calls",
    "max_retries",
    "num_returns",
    "retry_exceptions",
    "_generator_backpressure_num_objects",
    "_num_objects_per_yield",
)
ACTOR: Final = (
    *COMMON,
    "allow_out_of_order_execution",
    "concurrency_groups",
    "enable_tensor_transport",
    "get_if_exists",
    "lifetime",
    "max_concurrency",
    "max_pending_calls",
    "max_restarts",
    "max_task_retries",
    "namespace",
    "_actor_generator_backpressure_num_objects",
)
METHOD: Final = (
    "concurrency_group",
    "enable_task_events",
    "max_task_retries",
    "name",
    "num_returns",
    "retry_exceptions",
    "tensor_transport",
    "_generator_backpressure_num_objects",
    "_num_objects_per_yield",
)
# What flame has for classes and not for functions, or the other way round, is in its own options.
EXTENSIONS: Final = ("retries", "timeout", "deadline", "priority", "cache")

# Of no effect on one machine, or a hint that flame does not need.
_WITHOUT_EFFECT: Final = frozenset(
    {
        "allow_out_of_order_execution",
        "enable_task_events",
        "object_store_memory",
        "placement_group_bundle_index",
        "placement_group_capture_child_tasks",
        "_actor_generator_backpressure_num_objects",
        "_labels",
    }
)
# Refused, unless they say what is the case anyway.
_REFUSED: Final[Mapping[str, tuple[tuple[object, ...], str]]] = {
    "accelerator_type": ((), "the machine's accelerators have no types here: use num_gpus"),
    "label_selector": (({},), "there is one machine, without labels"),
    "fallback_strategy": (([],), "there is one machine, without labels"),
    "placement_group": (("default",), "there are no placement groups: one machine runs it all"),
    "enable_tensor_transport": ((False,), "tensors travel as other values do"),
    "tensor_transport": (("object_store",), "tensors travel as other values do"),
    "_num_objects_per_yield": ((1,), "an item of a generator is one object"),
}
# What Ray does without these; not passed on, as flame has not each of them for functions, classes
# and methods alike.
_DEFAULTS: Final[Mapping[str, object]] = {
    "get_if_exists": False,
    "lifetime": "non_detached",
    "max_pending_calls": -1,
    "max_restarts": 0,
    "max_task_retries": 0,
    "retry_exceptions": False,
    "memory": 0,
    "runtime_env": {},
}
_ONE_MACHINE: Final = ("DEFAULT", "SPREAD")


def translated(
    options: Mapping[str, Any], known: tuple[str, ...], what: str, before: Mapping[str, Any]
) -> dict[str, Any]:
    """Return Ray's options as flame's.

    Args:
        options: as the user gave them.
        known: the options that there are.
        what: whose options these are, for errors: "the function f".
        before: the options that `options` changes; what is there may be set back to its default.

    Raises:
        ValueError: an option is unknown, or cannot be had here.
    """
    result: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known and name not in EXTENSIONS:
            raise ValueError(f"{what} has no option {name!r}; options: {', '.join(sorted(known))}")
        if name in _REFUSED:
            _require_the_case(name, value, what)
        elif name == "scheduling_strategy":
            _require_one_machine(value, what)
        elif name == "_generator_backpressure_num_objects":
            result["backpressure"] = None if value in (None, -1) else value
        elif name == "num_returns":
            if value is not None:
                result[name] = 1 if value == "streaming" else value
        elif name == "concurrency_groups" and isinstance(value, list):
            result[name] = {group["name"]: group["max_concurrency"] for group in value}
        elif name not in _WITHOUT_EFFECT and value is not None:
            is_default = name in _DEFAULTS and value == _DEFAULTS[name]
            if name in before or not is_default:
                result[name] = value
    return result


def _require_the_case(name: str, value: object, what: str) -> None:
    anyway, reason = _REFUSED[name]
    if value is not None and not any(value == one for one in anyway):
        raise ValueError(f"{what} cannot have {name}={value!r}: {reason}; see docs/ray.md")


def _require_one_machine(strategy: object, what: str) -> None:
    if strategy is None or strategy in _ONE_MACHINE:
        return
    if type(strategy).__name__ == "NodeAffinitySchedulingStrategy":
        return  # there is one node
    raise ValueError(
        f"{what} cannot have scheduling_strategy={strategy!r}: one machine runs it all; possible: "
        f"{', '.join(map(repr, _ONE_MACHINE))}; see docs/ray.md"
    )
