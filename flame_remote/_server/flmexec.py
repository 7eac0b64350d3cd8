"""flmexec: runs scripts. Input and output are JSON, the format Flame's own service has.

Input {"language": "python" or "shell", "runtime": text or null, "code": text, "input": list of
bytes or null}; output {"data": list of bytes}, what the script has written to its standard output.
Unlike Flame's, a script that fails fails its task.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from flame_remote._proto import shim_pb2

from .processes import describe_status
from .service import serve

PYTHON: Final = "FLAME_REMOTE_PYTHON"  # the interpreter of scripts
_OUTPUT_CHARACTERS: Final = 4000


class ScriptError(Exception):
    """A script cannot be run, or has failed; the text says how."""


class ExecService:
    """Runs one script for each task."""

    def enter(self, context: shim_pb2.SessionContext) -> None:
        """Nothing to prepare."""

    def invoke(self, task_input: bytes | None) -> bytes | None:
        """Run a script; return what it wrote. Raises ScriptError."""
        try:
            script = json.loads(task_input or b"")
            language, code = script["language"], script["code"]
            given = script.get("input")
            stdin = None if given is None else bytes(given)
        except (ValueError, KeyError, TypeError) as error:
            raise ScriptError(
                'expected {"language": "python" or "shell", "code": text, "runtime": text or '
                f'null, "input": list of bytes or null}}: {error!r}'
            ) from error
        return json.dumps(
            {"data": list(_run(language, script.get("runtime"), code, stdin))}
        ).encode()

    def leave(self) -> None:
        """Nothing to undo."""


def _run(language: str, runtime: str | None, code: str, stdin: bytes | None) -> bytes:
    with tempfile.TemporaryDirectory(prefix="script-") as folder:
        path = Path(folder) / ("main.py" if language == "python" else "main.sh")
        path.write_text(code)
        command = [*_interpreter(language, runtime), str(path)]
        try:
            done = subprocess.run(
                command,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
            )
        except OSError as error:
            raise ScriptError(f"cannot run {command[0]}: {error.strerror}") from error
    if done.returncode:
        status = done.returncode << 8 if done.returncode > 0 else -done.returncode
        text = done.stderr.decode(errors="replace")[-_OUTPUT_CHARACTERS:].strip()
        raise ScriptError(f"the script {describe_status(status)}" + (f":\n{text}" if text else ""))
    sys.stderr.buffer.write(done.stderr)
    sys.stderr.flush()
    return done.stdout


def _interpreter(language: str, runtime: str | None) -> list[str]:
    if language == "shell":
        return [runtime or "bash"]
    if language != "python":
        raise ScriptError(f"unknown language {language!r}; known are 'python' and 'shell'")
    usual = os.environ.get(PYTHON) or sys.executable
    if runtime:
        found = shutil.which(runtime if runtime.startswith("python") else f"python{runtime}")
        return [found if found and _is_python(found) else usual]
    return [usual]


@cache
def _is_python(path: str) -> bool:
    """Say whether a program is a Python: version managers put others on the path in its name."""
    try:
        done = subprocess.run(
            [path, "-c", "print(6 * 7)"], stdin=subprocess.DEVNULL, capture_output=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout == b"42\n"


if __name__ == "__main__":
    serve(ExecService())
