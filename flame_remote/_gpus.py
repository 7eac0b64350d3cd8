"""Which GPUs this process may use, by the names that CUDA_VISIBLE_DEVICES has for them.

Found without any library of the vendor's: importing one takes seconds and settles what the process
will see.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from flame_remote.exceptions import InvalidOptionError

VARIABLE: Final = "CUDA_VISIBLE_DEVICES"


def visible_gpus(environment: Mapping[str, str] = os.environ, root: str = "/") -> list[str]:
    """Return the names of the GPUs that this process may use: "0", or "GPU-..." as was given.

    The variable says so if it is set; else the files of the NVIDIA driver do.
    """
    given = environment.get(VARIABLE)
    if given is None:
        return [str(number) for number in range(_count_gpus(root))]
    names = [name.strip() for name in given.split(",")] if given.strip() else []
    # As the vendor has it: what is no device, such as -1, hides all those behind it.
    hidden = next((n for n, name in enumerate(names) if not name or name[0] == "-"), len(names))
    return names[:hidden]


def named_gpus(number: float, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return names for as many GPUs as an engine is to have, the last perhaps in part.

    Raises:
        InvalidOptionError: the variable shows fewer to this process.
    """
    whole = -int(-number // 1)
    given = environment.get(VARIABLE)
    if given is None:
        return [str(gpu) for gpu in range(whole)]
    names = visible_gpus(environment)
    if whole > len(names):
        raise InvalidOptionError(
            f"num_gpus must be at most {len(names)}, not {number:g}: {VARIABLE}={given!r} shows "
            "no more to this process"
        )
    return names[:whole]


def _count_gpus(root: str) -> int:
    """Count what the NVIDIA driver shows, 0 where it is not there."""
    try:
        return len(os.listdir(os.path.join(root, "proc/driver/nvidia/gpus")))
    except OSError:
        pass
    try:
        return sum(re.fullmatch(r"nvidia\d+", name) is not None
                   for name in os.listdir(os.path.join(root, "dev")))  # fmt: skip
    except OSError:
        return 0
