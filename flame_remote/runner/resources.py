"""What one instance of a service takes, as users give it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from flame_remote.core.resources import ResourceRequirement

Resources = Union["ResourceRequirement", str]


def resources_of(resreq: Resources | None) -> tuple[int, int, int] | None:
    """Return CPUs, bytes of memory and GPUs; None where nothing was asked for.

    Raises:
        ValueError: a text is not of the form "cpu=1,mem=1g,gpu=1".
        TypeError: it is neither a ResourceRequirement nor a text.
    """
    if resreq is None:
        return None
    from flame_remote.core.resources import ResourceRequirement

    if isinstance(resreq, str):
        resreq = ResourceRequirement.from_string(resreq)
    if not isinstance(resreq, ResourceRequirement):
        raise TypeError(
            "resreq must be a ResourceRequirement, or a text such as 'cpu=1,mem=1g', not "
            f"{type(resreq).__name__}"
        )
    return resreq.cpu, resreq.memory, resreq.gpu
