"""run.py and .ci/run, each run as a program on a small project of its own, without a network.

Most of the projects are set up by a stand-in for uv, which makes a bare .venv at once and notes
what it was asked for. HOME is set in none of them.
"""

import ast
import fcntl
import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parent.parent

FAKE_UV = """\
#!/bin/sh
echo "$@" >> "$CALLS"
case "$1" in
  --version) echo "uv 1.0" ;;
  venv) exec "$4" -m venv --without-pip "$5" ;;
  pip) exit "${UV_PIP_STATUS:-0}" ;;
esac
"""

FAKE_PIP = """\
import os, sys
if sys.argv[1] == "install":
    with open(os.environ["CALLS"], "a") as calls:
        print("as pip:", *sys.argv[1:], file=calls)
    status = int(os.environ.get("PIP_STATUS", "0"))
    print("ERROR: No space left on device" if status else "done")
    sys.exit(status)
print("pip 1.0")
"""

DEMO = """\
import json, os, sys
import flame_remote
result = {"arguments": sys.argv[1:], "cwd": os.getcwd(), "environment": dict(os.environ)}
result.update(prefix=sys.prefix, flame_remote=flame_remote.__file__)
print(json.dumps(result))
sys.exit(int(os.environ.get("DEMO_STATUS", "0")))
"""


def write_script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


class Project:
    """A copy of run.py with empty lists, a package, and a job that tells about itself."""

    def __init__(self, root: Path, tools: Path) -> None:
        self.root = root
        self.venv = root / ".venv"
        self.calls_file = tools / "calls"
        self.environment = {
            "PATH": f"{tools}:/usr/bin:/bin",
            "CALLS": str(self.calls_file),
            "PIP_CONFIG_FILE": os.devnull,
        }
        write_script(tools / "uv", FAKE_UV)
        for name in ("run", "demo", "flame", "test", "lint"):
            self.write(f"requirements/{name}.txt", "")
        self.write("flame_remote/__init__.py", "")
        self.write("examples/demo.py", DEMO)
        shutil.copy(REPOSITORY / "run.py", root)

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text, encoding="utf-8")

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, str(self.root / "run.py"), *arguments],
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        with self.start(*arguments, **environment) as process:
            stdout, stderr = process.communicate()
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)

    def demo(self, *arguments: str, **environment: str) -> dict:
        """What the example job says about itself. It must succeed."""
        done = self.run("demo", *arguments, **environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def calls(self, start: str) -> list[str]:
        """The calls of uv, and of the stand-in for pip, that begin so."""
        if not self.calls_file.exists():
            return []
        return [call for call in self.calls_file.read_text().splitlines() if call.startswith(start)]


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "a prö ject"
    root.mkdir()
    return Project(root, tmp_path / "tools")


# The job


def test_without_a_job_the_usage_is_printed(project):
    done = project.run()
    assert done.returncode == 0
    assert all(f"\n  {job} " in done.stdout for job in ("demo", "test", "lint"))
    assert not project.venv.exists()


@pytest.mark.parametrize("arguments", [["demonstrate"], ["lint", "flame_remote"]])
def test_what_is_no_job_is_an_error_that_shows_the_usage(project, arguments):
    done = project.run(*arguments)
    assert done.returncode == 2
    assert done.stdout.startswith("usage: ")
    assert not project.venv.exists()


def test_the_example_job_gets_the_arguments_and_finds_the_package(project):
    told = project.demo("two words", "ä")
    assert told["arguments"] == ["two words", "ä"]
    assert told["cwd"] == os.getcwd()
    assert told["prefix"] == str(project.venv)
    assert told["flame_remote"] == str(project.root / "flame_remote" / "__init__.py")


def test_the_status_of_the_job_is_the_status_of_run(project):
    assert project.run("demo", DEMO_STATUS="7").returncode == 7


def test_variables_that_mislead_python_or_pip_are_kept_from_the_job(project):
    misleading = {"PYTHONPATH": "/nowhere", "VIRTUAL_ENV": "/nowhere", "PIP_TARGET": "/nowhere"}
    environment = project.demo(**misleading, HTTPS_PROXY="http://proxy:1")["environment"]
    assert not misleading.keys() & environment.keys()
    assert environment["HTTPS_PROXY"] == "http://proxy:1"


def test_the_test_job_is_pytest_in_the_repository(project):
    project.write("pytest.py", "import os, sys; print(os.getcwd(), sys.argv[1:]); sys.exit(5)")
    done = project.run("test", "-q", "tests/test_run.py")
    assert done.returncode == 5
    assert done.stdout == f"{project.root} ['-q', 'tests/test_run.py']\n"


def test_every_linter_runs_although_one_has_failed(project):
    for name in ("ruff", "mypy", "pyright"):
        project.write(f"{name}.py", f"import sys; print(sys.argv[1:]); sys.exit({name == 'ruff'})")
    done = project.run("lint")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "lint: ruff format --check",
        "['format', '--check']",
        "lint: ruff check",
        "['check']",
        "lint: mypy --strict flame_remote",
        "['--strict', 'flame_remote']",
        "lint: pyright",
        "[]",
    ]


# The set-up


def test_the_second_run_sets_nothing_up(project):
    first = project.run("demo")
    calls = project.calls("")
    second = project.run("demo")
    assert len(first.stderr.splitlines()) <= 5
    assert second.stderr == ""
    assert calls
    assert project.calls("") == calls


def test_a_changed_list_is_installed_into_the_venv_that_is_there(project):
    project.demo()
    project.write("requirements/run.txt", "# changed\n")
    assert not project.calls("pip install")[2:]
    project.demo()
    assert project.calls("pip install")[2:]
    assert len(project.calls("venv")) == 1
    assert all("--only-binary :all:" in call for call in project.calls("pip install"))


def test_a_job_with_more_lists_adds_them_to_the_venv_that_is_there(project):
    project.write("pytest.py", "")
    project.demo()
    project.run("test")
    assert project.calls("pip install")[-1].endswith("-r requirements/lint.txt")
    assert len(project.calls("venv")) == 1
    calls = project.calls("")
    project.demo()
    assert project.calls("") == calls


def test_a_half_made_venv_is_made_anew(project):
    write_script(project.venv / "bin" / "python", "#!/bin/sh\nexit 1\n")  # as where ensurepip lacks
    assert project.demo()["prefix"] == str(project.venv)
    assert len(project.calls("venv")) == 1


def test_a_project_that_was_moved_gets_a_new_venv(project, tmp_path):
    project.demo()
    moved = project.root.rename(tmp_path / "moved")
    project.root, project.venv = moved, moved / ".venv"
    assert project.demo()["flame_remote"].startswith(str(moved))
    assert len(project.calls("venv")) == 2


def test_a_run_waits_for_another_that_sets_up_and_takes_its_venv(project):
    project.demo()
    stamp = (project.venv / "setup.json").read_text()
    (project.venv / "setup.json").unlink()
    calls = project.calls("")
    with (project.root / "run.py").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        process = project.start("demo")
        assert process.stderr.readline().startswith("run.py: waiting for another run.py")
        (project.venv / "setup.json").write_text(stamp)
    with process:
        process.communicate()
    assert process.returncode == 0
    assert project.calls("") == calls


@pytest.fixture
def venv_of_the_user(project):
    """A .venv that run.py has not made, with a stand-in for pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project.venv], check=True)
    (site,) = project.venv.glob("lib/python*/site-packages")
    (site / "pip").mkdir()
    (site / "pip" / "__main__.py").write_text(FAKE_PIP)
    return project.venv


def test_a_venv_of_the_user_is_kept_and_installed_into(project, venv_of_the_user):
    (venv_of_the_user / "something of the user").touch()
    project.demo()
    assert (venv_of_the_user / "something of the user").exists()
    assert not project.calls("venv")
    assert project.calls("pip install")


def test_where_pip_is_told_its_sources_uv_is_not_used(project, venv_of_the_user):
    project.demo(PIP_INDEX_URL="http://mirror.invalid/simple")
    assert not project.calls("pip install")
    assert project.calls("as pip: install")


def test_a_failure_shows_the_end_of_the_log_and_its_likely_cause(project, venv_of_the_user):
    done = project.run("demo", PIP_NO_INDEX="1", PIP_STATUS="1")
    assert done.returncode == 3
    assert "  | ERROR: No space left on device\n" in done.stderr
    assert "likely cause: the disk is full" in done.stderr
    assert str(project.venv / "setup.log") in done.stderr
    assert not (project.venv / "setup.json").exists()


def test_a_set_up_that_was_broken_off_is_begun_anew(project, venv_of_the_user):
    project.run("demo", PIP_NO_INDEX="1", PIP_STATUS="1")
    (project.venv / "half of a package").touch()
    project.demo()
    assert not (project.venv / "half of a package").exists()


@pytest.mark.skipif(
    find_spec("ensurepip") is None, reason="the venv of this Python needs a network"
)
def test_where_uv_fails_pip_installs_and_only_what_is_optional_may_lack(project, tmp_path):
    info = "tiny-1.0.dist-info"
    with zipfile.ZipFile(tmp_path / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "print('tiny is here')\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        wheel.writestr(f"{info}/RECORD", "")
    project.write("examples/demo.py", "import tiny\n")
    project.write(
        "requirements/run.txt", f"--no-index\n--find-links {tmp_path.as_uri()}\ntiny>=1\n"
    )
    project.write("requirements/demo.txt", "--no-index\nabsent\n")
    done = project.run("demo", UV_PIP_STATUS="1")
    assert done.stdout == "tiny is here\n", done.stderr
    assert "uv failed" in done.stderr
    assert "going on without what is in requirements/demo.txt" in done.stderr
    assert len(done.stderr.splitlines()) <= 5
    log = (project.venv / "setup.log").read_text(encoding="utf-8")
    assert log.index("$ uv pip install") < log.index("-m pip install")


# Old interpreters

RUN_AS_OLD = """\
import runpy, sys
sys.argv.pop(0)
sys.version_info = (3, 8, 18, "final", 0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_as_old(project: Project, path: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", RUN_AS_OLD, str(project.root / "run.py"), *arguments],
        env={**project.environment, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def test_an_old_python_can_read_it():
    ast.parse((REPOSITORY / "run.py").read_text(encoding="utf-8"), feature_version=(3, 8))


def test_an_old_python_without_a_newer_one_says_how_to_get_it(project, tmp_path):
    write_script(tmp_path / "empty" / "python3.12", "#!/bin/sh\nexit 127\n")  # a shim that fails
    write_script(tmp_path / "empty" / "brew", "#!/bin/sh\n")
    done = run_as_old(project, str(tmp_path / "empty"), "demo")
    assert done.returncode == 3
    assert done.stderr == (
        "run.py: needs Python 3.10 or newer, this is 3.8; try: brew install python3\n"
    )
    assert not project.venv.exists()


def test_an_old_python_hands_over_to_a_newer_one(project, tmp_path):
    tools = tmp_path / "tools"
    for minor in (13, 12, 14, 11, 10):
        write_script(tools / f"python3.{minor}", "#!/bin/sh\nexit 127\n")
    fitting = tools / f"python3.{sys.version_info[1]}"
    write_script(fitting, f"#!/bin/sh\nexec '{sys.executable}' \"$@\"\n")
    done = run_as_old(project, f"{tools}:/usr/bin:/bin", "demo", "x")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["arguments"] == ["x"]


# The lists


def test_the_lists_are_those_of_pyproject():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = {
        path.stem: path.read_text(encoding="utf-8").split()
        for path in (REPOSITORY / "requirements").iterdir()
    }
    extras = project["optional-dependencies"]
    assert lists["run"] == project["dependencies"]
    assert lists["test"] == extras["test"]
    assert lists["lint"] == extras["lint"]
    assert lists["flame"] == extras["flame"]
    assert set(lists["demo"]) <= set(lists["test"])
    assert lists.keys() == {"run", "demo", "flame", "test", "lint"}


# The check before a change lands

FAKE_RUN = """\
import os, sys
if sys.argv[1:] == ["test"]:
    print("===== \\x1b[32m3 passed\\x1b[0m, 1 skipped in 2.50s =====")
    sys.exit(int(os.environ["TEST_STATUS"]))
print("5 files in 3.0s are fine")
sys.exit(int(os.environ["LINT_STATUS"]))
"""


@pytest.mark.parametrize(
    ("test_status", "lint_status", "status"), [("0", "0", 0), ("1", "0", 1), ("0", "1", 1)]
)
def test_the_check_ends_with_the_closing_line_of_pytest(project, test_status, lint_status, status):
    project.write("run.py", FAKE_RUN)
    (project.root / ".ci").mkdir()
    shutil.copy(REPOSITORY / ".ci" / "run", project.root / ".ci")
    write_script(
        project.calls_file.with_name("python3"),
        f"#!/bin/sh\nexec '{sys.executable}' \"$@\"\n",
    )
    done = subprocess.run(
        ["bash", str(project.root / ".ci" / "run")],
        env={**project.environment, "TEST_STATUS": test_status, "LINT_STATUS": lint_status},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == status
    assert "5 files in 3.0s are fine" in done.stdout
    assert done.stdout.splitlines()[-1] == "===== 3 passed, 1 skipped in 2.50s ====="
