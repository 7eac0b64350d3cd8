"""The thread of users' callbacks: they may call the API, which the engine's own thread may not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Callbacks:
    """Runs functions one after the other, in a thread that starts with the first."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None  # belongs to the engine's thread

    def call(self, function: Callable[[], object]) -> None:
        """Have a function called soon. Engine's thread; does not block."""
        self._queue.put(function)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="flame-callbacks", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Call what is left, and end the thread. Any other thread."""
        thread = self._thread
        if thread is not None:
            self._queue.put(None)
            if thread is not threading.current_thread():
                thread.join(5.0)

    def _run(self) -> None:
        while (function := self._queue.get()) is not None:
            try:
                function()
            except Exception:
                import logging

                logging.getLogger("flame_remote").exception("a callback failed")
