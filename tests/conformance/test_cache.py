"""Results that outlive their program: what is known starts no task, what has changed does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

import flame_remote as flame
from flame_remote import _cache_folder
from flame_remote._cache_folder import CacheFolder
from flame_remote._wire.packing import Packed, pack, unpack

from .helpers import gate

engines = pytest.mark.usefixtures("engine")


class Journal:
    """A file to which each run of a function adds a byte: counts runs over processes."""

    def __init__(self, file: Path) -> None:
        self.file = str(file)
        file.touch()

    def note(self) -> None:
        with open(self.file, "a", encoding="utf-8") as stream:
            stream.write("x")

    @property
    def runs(self) -> int:
        return os.path.getsize(self.file)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "runs")


@pytest.fixture
def doubled(journal: Journal, tmp_path: Path) -> Any:
    """Return a function with a cache, which notes its runs; that is no argument of it."""
    note = _noting(journal.file)

    @flame.remote(cache=flame.Cache(tmp_path / "cache", ignore=["quiet"]))
    def double(x: Any, factor: int = 2, quiet: bool = False) -> Any:
        note()
        return x * factor

    return double


def _noting(file: str) -> Callable[[], None]:
    def note() -> None:
        with open(file, "a", encoding="utf-8") as stream:
            stream.write("x")

    return note


@engines
def test_a_call_that_was_made_before_starts_no_task(doubled: Any, journal: Journal) -> None:
    assert flame.get(doubled.remote(4)) == 8
    assert flame.get(doubled.remote(4)) == 8
    assert flame.get(doubled.remote(x=4, factor=2)) == 8  # the same, said otherwise
    assert flame.get(doubled.remote(4, quiet=True)) == 8  # an argument that does not matter
    assert journal.runs == 1
    assert flame.get(doubled.remote(4, factor=3)) == 12
    assert flame.get(doubled.remote("4")) == "44"
    assert journal.runs == 3


@engines
def test_arguments_count_by_content_and_refs_as_their_values(
    doubled: Any, journal: Journal
) -> None:
    array = numpy.arange(50_000)
    assert flame.get(doubled.remote(array))[-1] == 99_998
    assert flame.get(doubled.remote(array.copy()))[-1] == 99_998
    known = flame.get(doubled.remote(flame.put(array)))
    assert journal.runs == 1
    known[0] = 7  # writable, and nobody else's
    assert flame.get(doubled.remote(array))[0] == 0
    array[-1] = 0
    assert flame.get(doubled.remote(array))[-1] == 0
    assert journal.runs == 2


@engines
def test_a_ref_to_what_is_not_there_yet_is_looked_at_when_it_is(
    doubled: Any, journal: Journal
) -> None:
    assert flame.get(doubled.remote(5)) == 10
    held = gate()
    waiting = doubled.remote(held.wait.remote(5))
    held.open.remote()
    assert flame.get(waiting) == 10
    assert journal.runs == 1


@engines
def test_other_code_and_other_closures_are_other_functions(tmp_path: Path) -> None:
    def made(closed_over: int, text: str) -> Any:
        scope: dict[str, Any] = {"__name__": __name__, "n": closed_over}
        exec(text, scope)
        scope["f"].__qualname__ = "same"
        return flame.remote(scope["f"], cache=str(tmp_path / "cache"))

    plus = "def f(x): return x + n"
    assert flame.get(made(1, plus).remote(1)) == 2
    assert flame.get(made(2, plus).remote(1)) == 3
    assert flame.get(made(2, "def f(x): return x - n").remote(1)) == -1
    assert flame.get(made(2, "def g(x): return -x\ndef f(x): return g(x)").remote(1)) == -1
    assert flame.get(made(2, "def g(x): return x\ndef f(x): return g(x)").remote(1)) == 1


@engines
def test_errors_and_results_with_refs_are_not_kept(journal: Journal, tmp_path: Path) -> None:
    note = _noting(journal.file)

    @flame.remote(cache=tmp_path / "cache")
    def fail() -> None:
        note()
        raise ValueError("no")

    @flame.remote(cache=tmp_path / "cache")
    def with_ref() -> list[Any]:
        note()
        return [flame.put(1)]

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            flame.get(fail.remote())
        assert flame.get(flame.get(with_ref.remote())) == [1]
    assert journal.runs == 4


@engines
def test_cache_clear_forgets_the_results_of_that_function(
    doubled: Any, journal: Journal, tmp_path: Path
) -> None:
    other = flame.remote(_same, cache=tmp_path / "cache")
    flame.get([doubled.remote(1), other.remote(1)])
    doubled.cache_clear()
    assert len(list((tmp_path / "cache").glob("*/*"))) == 1
    flame.get(doubled.remote(1))
    assert journal.runs == 2
    with pytest.raises(TypeError, match="cache"):
        flame.remote(_same).cache_clear()


def _same(x: Any) -> Any:
    return x


@engines
def test_a_damaged_result_is_computed_again(doubled: Any, journal: Journal, tmp_path: Path) -> None:
    flame.get(doubled.remote(1))
    (file,) = (tmp_path / "cache").glob("*/*")
    content = file.read_bytes()
    for damaged in (b"", content[:-1], content[:-1] + b"?", b"nonsense" * 20):
        file.write_bytes(damaged)
        assert flame.get(doubled.remote(1)) == 2
    assert journal.runs == 5


def test_results_are_known_to_the_next_program(tmp_path: Path) -> None:
    program = (
        "import flame_remote as flame\n"
        f"@flame.remote(cache={str(tmp_path / 'cache')!r})\n"
        "def f(names, sizes):\n"
        f"    open({str(tmp_path / 'runs')!r}, 'a').write('x')\n"
        "    return sorted(names), sizes\n"
        "print(flame.get(f.remote({'a', 'b', 'c', 'd'}, {'a': [1, 2.5]})))\n"
    )
    file = tmp_path / "program.py"
    file.write_text(program)
    root = str(Path(flame.__file__).parent.parent)
    said = {
        subprocess.run(
            [sys.executable, str(file)],
            env={**os.environ, "PYTHONPATH": root, "FLAME_ENGINE": "inline"},
            capture_output=True,
            text=True,
            check=True,
            timeout=50,
        ).stdout
        for _ in range(2)
    }
    assert said == {"(['a', 'b', 'c', 'd'], {'a': [1, 2.5]})\n"}
    assert (tmp_path / "runs").read_text() == "x"


@pytest.mark.parametrize("wrong", [3, b"x", ["folder"]])
def test_what_is_no_cache_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="cache"):
        flame.remote(cache=wrong)(_same)


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(flame.InvalidOptionError, match="max_bytes"):
        flame.Cache(tmp_path, max_bytes=0)
    with pytest.raises(TypeError, match="ignore"):
        flame.Cache(tmp_path, ignore="verbose")
    with pytest.raises(flame.InvalidOptionError, match="num_returns"):
        flame.remote(_same, cache=str(tmp_path), num_returns=2)


# --- the folder -----------------------------------------------------------------------------------


def packed(value: Any) -> Packed:
    return pack(value, lambda: "a value")


def test_the_folder_throws_away_what_was_asked_for_the_longest_time_ago(tmp_path: Path) -> None:
    folder = CacheFolder(str(tmp_path / "cache"), 300_000)
    for number, key in enumerate("abc"):
        folder.write("group", key, packed(b"x" * 80_000))
        os.utime(tmp_path / "cache" / "group" / f"{key}.value", (number, number))
    assert folder.read("group", "a") is not None  # asked for just now
    folder.write("group", "d", packed(b"x" * 80_000))
    assert [folder.read("group", key) is not None for key in "abcd"] == [True, False, True, True]


def test_the_folder_takes_away_what_its_writers_have_abandoned(tmp_path: Path) -> None:
    folder = CacheFolder(str(tmp_path / "cache"), 1000)
    folder.write("group", "a", packed(1))
    abandoned = tmp_path / "cache" / "group" / "b.1.1.part"
    fresh = tmp_path / "cache" / "group" / "c.1.1.part"
    for file in (abandoned, fresh):
        file.write_bytes(b"?")
    os.utime(abandoned, (0, 0))
    folder.write("group", "d", packed(1))
    assert (abandoned.exists(), fresh.exists()) == (False, True)


def test_the_folder_keeps_arrays_as_they_are(tmp_path: Path) -> None:
    folder = CacheFolder(str(tmp_path / "cache"), 1 << 30)
    array = numpy.arange(100_000)
    folder.write("group", "a", packed([array, "text"]))
    found = folder.read("group", "a")
    assert found is not None
    value = unpack(found.data, found.buffers)
    assert (value[0] == array).all()
    assert value[1] == "text"


def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    folder = CacheFolder(str(path), 1000)
    folder.write("group", "a", packed(1))
    path.chmod(0o777)
    for use in (lambda: folder.read("group", "a"), lambda: folder.write("group", "b", packed(1))):
        with pytest.raises(flame.ObjectError, match="other users"):
            use()


def test_processes_that_write_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from flame_remote._cache_folder import CacheFolder\n"
        "from flame_remote._wire.packing import pack, unpack\n"
        f"folder = CacheFolder({str(tmp_path / 'cache')!r}, 100_000)\n"
        "for n in range(150):\n"
        "    key = str(n % 5)\n"
        "    found = folder.read('group', key)\n"
        "    assert found is None or unpack(found.data) == key * 30_000\n"
        "    folder.write('group', key, pack(key * 30_000, str))\n"
    )
    root = str(Path(_cache_folder.__file__).parent.parent)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": root},
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for writer in writers:
        _, said = writer.communicate(timeout=50)
        assert (writer.returncode, said) == (0, "")
