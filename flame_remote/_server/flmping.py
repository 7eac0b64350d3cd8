"""flmping: answers, after a while if asked to. For trying a cluster out and measuring it.

Input {"duration": milliseconds or null, "memory": bytes or null}; output {"message": text}.
"""

from __future__ import annotations

import json
import socket
import time

from flame_remote._proto import shim_pb2

from .service import serve


class PingService:
    """Answers each task."""

    def enter(self, context: shim_pb2.SessionContext) -> None:
        """Nothing to prepare."""

    def invoke(self, task_input: bytes | None) -> bytes | None:
        """Sleep and hold memory as asked; say where that was."""
        request = json.loads(task_input) if task_input else {}
        begun = time.monotonic()
        memory = bytearray(request.get("memory") or 0)
        time.sleep((request.get("duration") or 0) / 1000)
        milliseconds = round((time.monotonic() - begun) * 1000)
        message = (
            f"Completed on <{socket.gethostname()}> in <{milliseconds}> milliseconds "
            f"with <{len(memory)}> memory"
        )
        return json.dumps({"message": message}).encode()

    def leave(self) -> None:
        """Nothing to undo."""


if __name__ == "__main__":
    serve(PingService())
