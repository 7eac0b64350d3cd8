"""FLAME_HOME of a local cluster: the programs that the default applications start."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

BOOTSTRAP: Final = Path(__file__).resolve().parent / "bootstrap.py"

# Stands where Flame has uv. The stock application says `uv run --python pythonX[.Y] python ...`.
_UV: Final = """\
#!/bin/sh
# Made by flame-remote for a local cluster. Understands `uv run [--python pythonX.Y] python ...`.
python={python}
version={version}
if [ "$1" != run ]; then
    echo "uv: this is the launcher of a local Flame cluster, it understands 'run' only" >&2
    exit 2
fi
shift
if [ "$1" = --python ] || [ "$1" = -p ]; then
    case "$2" in
        "python$version" | python3 | python | "$version" | 3 | *'$'*) ;;
        *)
            wanted=$2
            case "$wanted" in [0-9]*) wanted=python$wanted ;; esac
            if ! python=$(command -v "$wanted"); then
                echo "uv: the application wants $wanted, but instances of this cluster run" \\
                    "Python $version ({python_text}) and there is no $wanted on PATH;" \\
                    "use the same Python version on both sides, or start the cluster with" \\
                    "--python /path/to/$wanted" >&2
                exit 2
            fi
            ;;
    esac
    shift 2
fi
if [ "$1" = python ] || [ "$1" = python3 ]; then
    shift
    if [ "$1" = -m ]; then
        exec "$python" {bootstrap} "$@"
    fi
    exec "$python" "$@"
fi
exec "$@"
"""
_SERVICE: Final = """\
#!/bin/sh
# Made by flame-remote for a local cluster.
FLAME_REMOTE_PYTHON={scripts} exec {python} {bootstrap} -m {module}
"""
_SERVICES: Final = {
    "flmexec-service": "flame_remote._server.flmexec",
    "flmping-service": "flame_remote._server.flmping",
}


def make_home(folder: Path, python: str) -> str:
    """Write the programs into `folder`/bin; return the version of `python`, "3.11".

    Args:
        folder: FLAME_HOME.
        python: the interpreter of instances.

    Raises:
        OSError: a file cannot be written, or `python` cannot be run.
        RuntimeError: `python` runs, but fails.
    """
    version = version_of(python)
    bin_folder = folder / "bin"
    bin_folder.mkdir(parents=True, exist_ok=True)
    words = {"python": shlex.quote(python), "bootstrap": shlex.quote(str(BOOTSTRAP))}
    _write(bin_folder / "uv", _UV.format(**words, version=version, python_text=_in_quotes(python)))
    # The services are ours: the interpreter that runs us has what they need.
    words.update(python=shlex.quote(sys.executable), scripts=shlex.quote(python))
    for name, module in _SERVICES.items():
        _write(bin_folder / name, _SERVICE.format(**words, module=module))
    return version


def version_of(python: str) -> str:
    """Return major and minor version of an interpreter. Raises OSError, RuntimeError."""
    if python == sys.executable:
        return f"{sys.version_info[0]}.{sys.version_info[1]}"
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise RuntimeError(f"{python} does not run: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def _in_quotes(text: str) -> str:
    """Return text that means itself between double quotes of a shell."""
    return "".join("\\" + letter if letter in '"$`\\' else letter for letter in text)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
