"""gRPC, imported so that it says nothing when the process forks.

It would print a line at every fork of a process that has a connection: that it cannot prepare for
it. It cannot, and forked children do not use it (see `processes`). It reads the variable once, as
it is imported; one that the user has set is left as it is.
"""

from __future__ import annotations

import os
from typing import Final

_VARIABLE: Final = "GRPC_ENABLE_FORK_SUPPORT"

if _VARIABLE in os.environ:
    import grpc
    import grpc.aio
else:
    os.environ[_VARIABLE] = "0"
    import grpc
    import grpc.aio

    del os.environ[_VARIABLE]

__all__ = ["grpc"]
