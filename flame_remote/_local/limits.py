"""The system's refusals, in words that say what to do about them."""

from __future__ import annotations

import errno
import os
import resource


def explain(error: OSError) -> str:
    """Say what a refusal of the system means: which limit was met, and how to raise it."""
    reason = error.strerror or str(error)
    match error.errno:
        case errno.EMFILE:
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            return (
                f"{reason}: a process may have {limit} here; "
                "raise the limit (ulimit -n), close files, or ask for fewer CPUs and actors"
            )
        case errno.ENFILE:
            return f"{reason}: the machine's limit (sysctl fs.file-max) is reached"
        case errno.EAGAIN:
            limit, _ = resource.getrlimit(resource.RLIMIT_NPROC)
            return (
                f"{reason}: this user, or this container, may have no more processes and threads "
                f"(ulimit -u is {_shown(limit)}; a container's limit is its pids.max)"
            )
        case errno.ENOMEM:
            return f"{reason}: the machine, or this container, has no memory left"
        case _:
            return reason


def _shown(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else str(limit)


def out_of_files() -> OSError:
    """Return the error that the kernel does not raise where it drops a descriptor that came."""
    return OSError(errno.EMFILE, os.strerror(errno.EMFILE))
