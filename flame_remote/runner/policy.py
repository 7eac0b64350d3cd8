"""How many instances of a target there are."""

from __future__ import annotations

from dataclasses import dataclass

from flame_remote._spec import TargetKind


@dataclass(frozen=True, slots=True)
class Policy:
    """How many instances serve a target; `max_instances` None is as many as there is room for."""

    autoscale: bool
    min_instances: int
    max_instances: int | None

    @classmethod
    def of(cls, kind: TargetKind) -> Policy:
        """Derive the policy from the kind of target.

        A function has no state, so calls may run anywhere: none to many instances, by demand. An
        instance has state, so there is exactly one.
        """
        if kind is TargetKind.FUNCTION:
            return cls(autoscale=True, min_instances=0, max_instances=None)
        return cls(autoscale=False, min_instances=1, max_instances=1)
