#!/usr/bin/env python3
"""Run a job of the project (demo, test, lint) in a .venv of its own, made when it is needed.

Standard library only, in the syntax of Python 3.8, so that an old interpreter can say what to do.
A complete .venv has a stamp: it is taken away before anything is installed and comes back last. So
a set-up that was broken off leaves a log without a stamp, and the next run begins anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

USAGE = """\
usage: python3 run.py JOB [ARGUMENTS]

  demo [paths]         the example job; the arguments go to examples/demo.py
  test [pytest args]   the whole test suite
  lint                 ruff format, ruff check, mypy and pyright"""

ROOT = Path(__file__).resolve().parent
VENV, PYTHON = ROOT / ".venv", str(ROOT / ".venv" / "bin" / "python")
STAMP, LOG = VENV / "setup.json", VENV / "setup.log"

NULL = subprocess.DEVNULL
THIS, OLDEST, NEWEST = sys.version_info[:2], (3, 10), (3, 14)
VERSION = "{}.{}".format(*THIS)
SITE = VENV / f"lib/python{VERSION}{sys.abiflags.strip('d')}/site-packages"

# Files of requirements/. The tests take those of lint too: they run mypy and pyright.
ALL = ["run", "flame", "test", "lint"]
LISTS = {"demo": ["run", "demo"], "test": ALL, "lint": ALL}

WHOLE_SUITE = ["-n", "4", "--dist", "loadfile"]

INSTALL = {
    "uv": ["uv", "pip", "install", "--python", PYTHON],
    "pip": [PYTHON, "-m", "pip", "install", "--progress-bar", "off"],
}
CHECKS = ["ruff format --check", "ruff check", "mypy --strict flame_remote", "pyright"]

# Variables that lead a child to another Python, or pip to another folder. Proxies, indexes stay.
MISLEADING = re.compile(
    r"PYTHONHOME|PYTHONPATH|VIRTUAL_ENV|__PYVENV_LAUNCHER__"
    r"|PIP_(USER|TARGET|PREFIX|ROOT|PYTHON|REQUIRE_VIRTUALENV)"
)
# Settings of pip that say where packages come from: uv does not read them, so pip it is.
PIP_SOURCE = re.compile("[^=]*(index|find.links|proxy|cert|trusted.host)[^=]*=")

# The first pattern found in the end of the log names the cause.
CAUSES = {
    "No space left|quota exceeded": "the disk is full",
    "certificate.verify.failed|invalid peer certificate": "a proxy shows its own certificate: name"
    " its file with PIP_CERT=/path/to/ca.pem",
    "NewConnection|Connect(ion)?Timeout|ReadTimeout|Connection (refused|reset)|Proxy(Error|Connect)"
    "|is unreachable|name resolution|nodename nor|dns error": "the package index is not reached:"
    " check the network, set HTTPS_PROXY or PIP_INDEX_URL,\n  or install from a folder of wheels:"
    " PIP_NO_INDEX=1 PIP_FIND_LINKS=/path/to/wheels",
    "No matching distribution|no (usable )?wheels|unsatisfiable": "a package is not to be had as a"
    " wheel for this Python and system:\n  try another Python, such as python3.12",
    "Permission denied|Read-only file": "the project's folder cannot be written to",
}


def say(text: str) -> None:
    print("run.py: " + text, file=sys.stderr, flush=True)


def fail(text: str) -> NoReturn:
    say(text)
    sys.exit(3)


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not MISLEADING.fullmatch(name)}
    return {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", **kept, **more}  # no look-up of newer versions


def output_of(*command: str) -> str:
    """What the command prints; nothing where it cannot be run or fails."""
    with contextlib.suppress(OSError):
        done = subprocess.run(command, env=environment(), stdin=NULL, capture_output=True)
        return "" if done.returncode else done.stdout.decode(errors="replace").strip()
    return ""


def logged(*command: str) -> bool:
    """Run a step of the set-up, its output in the log; whether it succeeded."""
    # The zeros overrule pip's own configuration too.
    env = environment(PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0", PIP_DISABLE_PIP_VERSION_CHECK="1")
    with LOG.open("ab", buffering=0) as log:
        log.write(f"$ {' '.join(map(shlex.quote, command))}\n".encode(errors="replace"))
        return subprocess.call(command, cwd=ROOT, env=env, stdin=NULL, stdout=log, stderr=log) == 0


def version_of(python: str) -> str:
    return output_of(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")


def other_python() -> str | None:
    """A Python that fits, found by running it: what has the name may be a shim that fails."""
    names = (f"python3.{minor}" for minor in (13, 12, 14, 11, 10))
    return next((shutil.which(name) for name in names if version_of(name) == name[6:]), None)


def uv_is_usable() -> bool:
    settings = output_of(sys.executable, "-m", "pip", "config", "list").splitlines()
    # The variables are in that list too, but count as well where there is no pip to list them.
    settings += [f"{name.lower()}=" for name in os.environ if name.startswith("PIP_")]
    return not any(map(PIP_SOURCE.match, settings)) and output_of("uv", "--version") != ""


def read_stamp() -> dict[str, str]:
    """What the last finished set-up recorded; empty where there is none or its Python is gone."""
    with contextlib.suppress(OSError, ValueError):
        if os.access(PYTHON, os.X_OK):
            return dict(json.loads(STAMP.read_text(encoding="utf-8")))
    return {}


def stamp_for(job: str) -> dict[str, str]:
    """What a finished set-up for the job records: where and for what it is, and the lists."""
    system = getattr(sys.implementation, "_multiarch", "")  # on Linux: which C library
    stamp = {"place": f"{ROOT} {VERSION} {sys.platform} {system} {os.uname().machine}"}
    for name in LISTS[job]:
        stamp[name] = hashlib.sha256((ROOT / f"requirements/{name}.txt").read_bytes()).hexdigest()
    return stamp


def can_be_kept(tool: str, place: str) -> bool:
    """Whether the .venv that is there can be installed into; else it is made anew."""
    pip_runs = output_of(PYTHON, "-m", "pip", "--version") != ""
    stamp = read_stamp()
    if stamp or LOG.exists():  # ours: whole and for this Python and place, or not?
        return stamp.get("place") == place and (tool == "uv" or pip_runs)
    return pip_runs and version_of(PYTHON) == VERSION


def create(tool: str) -> bool:
    log = LOG.read_bytes() if LOG.exists() else b""
    shutil.rmtree(VENV, ignore_errors=True)
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    VENV.mkdir()
    LOG.write_bytes(log)
    inside = Path(sys.prefix).resolve() == VENV  # then this very interpreter has just been removed
    python = getattr(sys, "_base_executable", "") if inside else sys.executable
    if tool == "uv":
        return logged("uv", "venv", "--allow-existing", "--python", python, str(VENV))
    venv = [python, "-m", "venv", str(VENV)]
    # Debian without python3-venv lacks only the copy of pip that venv would put in. Any pip can
    # put it there, and into a folder it may where PEP 668 guards the system's own.
    pip = [python, "-m", "pip", "install", "--target", str(SITE), "pip"]
    return (
        logged(*venv)
        or (logged(*venv, "--without-pip") and logged(*pip))
        or logged(python, "-m", "virtualenv", str(VENV))
        or fail(f"{python} makes no venv: sudo apt-get install python3-venv (log: {LOG})")
    )


def build(tool: str, job: str) -> bool:
    """Make .venv fit the job; whether that worked."""
    stamp = stamp_for(job)
    if not can_be_kept(tool, stamp["place"]) and not create(tool):
        return False
    kept = read_stamp()
    STAMP.unlink(missing_ok=True)
    # From there to here: ASCII whatever the folders are called.
    (SITE / "flame_remote_source.pth").write_text("../../../..\n")
    for name in LISTS[job]:
        # Wheels only: nobody needs a compiler.
        if not logged(*INSTALL[tool], "--only-binary", ":all:", "-r", f"requirements/{name}.txt"):
            if name != "demo":  # that one is optional
                return False
            say(f"going on without what is in requirements/{name}.txt, which cannot be installed")
    STAMP.write_text(json.dumps({**kept, **stamp}), encoding="utf-8")
    return True


def set_up(job: str) -> None:
    """Return with a .venv that has what the job needs."""
    for tool in ["uv", "pip"] if uv_is_usable() else ["pip"]:
        say(f"setting up .venv with {tool} (Python {VERSION}; log in .venv/setup.log)")
        if build(tool, job):
            return
        say(f"{tool} failed")
    last = LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
    end = "\n".join(f"  | {line}" for line in last)
    causes = (cause for pattern, cause in CAUSES.items() if re.search(pattern, end, re.I))
    fail(f"the end of {LOG}:\n{end}\nlikely cause: {next(causes, 'see above')}")


def lint(env: dict[str, str]) -> int:
    status = 0
    for check in CHECKS:
        print("lint:", check, flush=True)
        status |= subprocess.call([PYTHON, "-m", *check.split()], cwd=ROOT, env=env) != 0
    return status


def main(arguments: list[str]) -> int:
    job, rest = "".join(arguments[:1]), arguments[1:]
    if job not in LISTS or (job == "lint" and rest):
        print(USAGE)
        return 0 if job in ("", "-h", "--help") else 2
    if not OLDEST <= THIS <= NEWEST:
        other = other_python()
        if other:
            os.execve(other, [other, __file__, *arguments], environment())
        if THIS < OLDEST:
            tools = ["sudo apt-get install", "sudo dnf install", "apk add", "brew install"]
            found = (f"{tool} python3" for tool in tools if shutil.which(tool.split()[-2]))
            fail(f"needs Python 3.10 or newer, this is {VERSION}; try: {next(found, 'python.org')}")
    wanted = stamp_for(job).items()
    if not wanted <= read_stamp().items():
        with open(__file__) as this:  # its lock lets one run.py at a time work on .venv
            try:
                fcntl.flock(this, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for another run.py, which is setting up .venv")
                fcntl.flock(this, fcntl.LOCK_EX)
            except OSError:  # a file system without locks
                pass
            if not wanted <= read_stamp().items():
                set_up(job)
    env = environment(PATH=f"{VENV / 'bin'}:{os.environ.get('PATH', os.defpath)}")
    if job == "lint":
        return lint(env)
    command = [PYTHON, str(ROOT / "examples" / "demo.py"), *rest]
    if job == "test":
        os.chdir(ROOT)
        # The whole suite in four processes: most of its time is spent waiting for others.
        command = [PYTHON, "-m", "pytest", *(rest or WHOLE_SUITE)]
    os.execve(PYTHON, command, env)  # signals, output and exit status are the job's own


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError as error:
        fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
