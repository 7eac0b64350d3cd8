"""A program for instances: does what a task's input says. Run by the local cluster in tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

from flame_remote._server.service import serve


class Program:
    """Answers "verb:argument" inputs."""

    def __init__(self) -> None:
        self.context: Any = None
        self.calls = 0

    def enter(self, context: Any) -> None:
        self.context = context
        if context.common_data == b"refuse":
            raise ValueError("intentional session enter failure")

    def leave(self) -> None:
        if path := os.environ.get("ON_LEAVE"):
            with open(path, "w") as file:
                file.write("left")

    def invoke(self, task_input: bytes | None) -> bytes | None:
        self.calls += 1
        if task_input is None:
            return None
        verb, _, argument = task_input.partition(b":")
        return getattr(self, verb.decode())(argument)

    def echo(self, argument: bytes) -> bytes:
        return argument

    def pid(self, argument: bytes) -> bytes:
        return str(os.getpid()).encode()

    def count(self, argument: bytes) -> bytes:
        return str(self.calls).encode()

    def env(self, argument: bytes) -> bytes:
        return os.environ.get(argument.decode(), "").encode()

    def cwd(self, argument: bytes) -> bytes:
        return os.getcwd().encode()

    def told(self, argument: bytes) -> bytes:
        return str(getattr(self.context.application, argument.decode())).encode()

    def run(self, argument: bytes) -> bytes:
        return str(eval(argument.decode())).encode()

    def fail(self, argument: bytes) -> bytes:
        raise ValueError(argument.decode())

    def crash(self, argument: bytes) -> bytes:
        print("last words", file=sys.stderr, flush=True)
        os._exit(3)

    def kill(self, argument: bytes) -> bytes:
        os.kill(os.getpid(), signal.SIGSEGV)
        return b""

    def block(self, argument: bytes) -> bytes:
        """Wait until somebody writes to a FIFO."""
        with open(argument, "rb") as file:
            return file.read()

    def child(self, argument: bytes) -> bytes:
        """Start a process that leaves our group and outlives us if it can; return its pid."""
        process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        return str(process.pid).encode()


if __name__ == "__main__":
    serve(Program())
