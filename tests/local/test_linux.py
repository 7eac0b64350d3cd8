from __future__ import annotations

import errno
import mmap
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flame_remote._local import _linux
from flame_remote._local._linux import HUGE_PAGE_BYTES, PAGE_BYTES

ROOT = Path(__file__).parents[2]
SIZE = 4 * PAGE_BYTES
DEADLINE_MS = 20_000

needs_pagemap = pytest.mark.skipif(
    not os.access("/proc/self/pagemap", os.R_OK), reason="this sandbox hides /proc/self/pagemap"
)


@pytest.fixture
def fd():
    fd = _linux.memory_file("test", SIZE)
    yield fd
    os.close(fd)


def in_child(function: Callable[[], bool]) -> bool:
    """Say what the function returns in a forked child; False if it raises."""
    pid = os.fork()
    if pid == 0:
        passed = False
        try:
            passed = bool(function())
        finally:
            os._exit(0 if passed else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def run_python(source: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", source],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def memory_of(fd: int) -> int:
    return os.fstat(fd).st_blocks * 512


def test_memory_file_has_its_size_and_is_closed_on_exec(fd):
    assert os.fstat(fd).st_size == SIZE
    assert not os.get_inheritable(fd)
    assert os.pread(fd, SIZE, 0) == bytes(SIZE)


def test_memory_file_cannot_be_truncated_under_its_readers(fd):
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)


def test_memory_file_needs_no_kernel_that_knows_the_newest_flag(monkeypatch):
    memfd_create = os.memfd_create

    def old_kernel(name, flags):
        if flags & ~(os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING):
            raise OSError(errno.EINVAL, "unknown flag")
        return memfd_create(name, flags)

    monkeypatch.setattr(os, "memfd_create", old_kernel)
    fd = _linux.memory_file("test", SIZE)
    assert os.fstat(fd).st_size == SIZE
    os.close(fd)


@pytest.mark.parametrize("reason", [errno.ENOSYS, errno.EPERM])
def test_memory_file_is_an_unlinked_file_where_memfd_is_forbidden(monkeypatch, tmp_path, reason):
    def forbidden(name, flags):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "memfd_create", forbidden)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.warns(RuntimeWarning, match="memfd_create is not permitted"):
        fd = _linux.memory_file("test", SIZE)
    assert os.fstat(fd).st_size == SIZE
    assert os.fstat(fd).st_nlink == 0
    assert os.listdir(tmp_path) == []
    _linux.reserve(fd, 0, SIZE)
    shared = _linux.map_file(fd, SIZE, shared=True)
    shared[:4] = b"abcd"
    assert os.pread(fd, 4, 0) == b"abcd"
    os.close(fd)


def test_memory_file_passes_other_errors_on(monkeypatch):
    def no_descriptors(name, flags):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", no_descriptors)
    with pytest.raises(OSError, match="Too many open files"):
        _linux.memory_file("test", SIZE)


def test_unlinked_file_does_without_o_tmpfile(monkeypatch, tmp_path):
    open_ = os.open

    def old_file_system(path, flags, *rest, **kwargs):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return open_(path, flags, *rest, **kwargs)

    monkeypatch.setattr(os, "open", old_file_system)
    fd = _linux.unlinked_file(str(tmp_path))
    assert os.write(fd, b"x") == 1
    assert os.listdir(tmp_path) == []
    os.close(fd)


def test_reserve_gives_memory_and_punch_hole_gives_it_back_zeroed(fd):
    _linux.reserve(fd, 0, SIZE)
    assert memory_of(fd) == SIZE
    os.pwrite(fd, b"x" * SIZE, 0)
    assert _linux.punch_hole(fd, PAGE_BYTES, 2 * PAGE_BYTES)
    assert memory_of(fd) == SIZE - 2 * PAGE_BYTES
    assert os.fstat(fd).st_size == SIZE
    assert os.pread(fd, SIZE, 0) == b"x" * PAGE_BYTES + bytes(2 * PAGE_BYTES) + b"x" * PAGE_BYTES


def test_punch_hole_says_when_it_cannot():
    reader, writer = os.pipe()
    assert not _linux.punch_hole(writer, 0, PAGE_BYTES)
    os.close(reader)
    os.close(writer)


def test_shared_mapping_is_seen_by_another_process_and_a_private_one_is_not(fd):
    shared = _linux.map_file(fd, SIZE, shared=True)
    private = _linux.map_file(fd, SIZE, shared=False)
    shared[0:1] = b"s"
    private[1:2] = b"p"
    assert private[0:2] == b"sp"
    assert in_child(lambda: os.pread(fd, 2, 0) == b"s\0")


def test_mapping_keeps_no_descriptor_and_outlives_the_file_s(fd):
    os.pwrite(fd, b"x", 0)
    duplicate = os.dup(fd)
    before = open_descriptors()
    mapping = _linux.map_file(duplicate, SIZE, shared=False)
    assert open_descriptors() == before
    os.close(duplicate)
    assert mapping[0:1] == b"x"


def test_mapping_a_bad_descriptor_raises_and_leaves_no_mapping():
    with pytest.raises(OSError, match="Bad file descriptor"):
        _linux.map_file(-1, SIZE, shared=True)


def test_mapping_may_reach_beyond_a_file_that_grows(tmp_path):
    fd = _linux.unlinked_file(str(tmp_path))
    mapping = _linux.map_file(fd, SIZE, shared=False)
    os.pwrite(fd, b"x" * SIZE, 0)
    assert mapping[SIZE - 1 : SIZE] == b"x"
    os.close(fd)


def test_collapse_keeps_the_content_whether_or_not_it_succeeds():
    size = 2 * HUGE_PAGE_BYTES
    fd = _linux.memory_file("test", size)
    mapping = _linux.map_file(fd, size, shared=True)
    for offset in range(0, size, HUGE_PAGE_BYTES):
        mapping[offset : offset + 2] = b"ab"
    if _linux.collapse(mapping, 0, size):
        assert memory_of(fd) == size
    assert mapping[0:3] == mapping[HUGE_PAGE_BYTES : HUGE_PAGE_BYTES + 3] == b"ab\0"
    os.close(fd)


@pytest.fixture(params=["scan", "entries"])
def pagemap_interface(request, monkeypatch):
    if request.param == "entries":

        def old_kernel(*arguments):
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))

        monkeypatch.setattr(_linux, "_scan_finds_private_page", old_kernel)


@needs_pagemap
@pytest.mark.usefixtures("pagemap_interface")
def test_private_pages_are_those_written_in_the_range(fd):
    os.pwrite(fd, b"x" * SIZE, 0)
    mapping = _linux.map_file(fd, SIZE, shared=False)
    assert not _linux.has_private_pages(mapping, 0, SIZE)
    assert mapping[:] == b"x" * SIZE
    assert not _linux.has_private_pages(mapping, 0, SIZE)
    mapping[2 * PAGE_BYTES : 2 * PAGE_BYTES + 1] = b"y"
    assert _linux.has_private_pages(mapping, 0, SIZE)
    assert _linux.has_private_pages(mapping, 2 * PAGE_BYTES, PAGE_BYTES)
    assert not _linux.has_private_pages(mapping, 0, 2 * PAGE_BYTES)
    assert not _linux.has_private_pages(mapping, 3 * PAGE_BYTES, PAGE_BYTES)


@needs_pagemap
@pytest.mark.usefixtures("pagemap_interface")
def test_private_pages_are_found_in_a_range_of_huge_pages():
    size = 2 * HUGE_PAGE_BYTES
    fd = _linux.memory_file("test", size)
    _linux.reserve(fd, 0, size)
    writer = _linux.map_file(fd, size, shared=True)
    _linux.collapse(writer, 0, size)
    reader = _linux.map_file(fd, size, shared=False)
    assert reader[:] == bytes(size)
    assert not _linux.has_private_pages(reader, 0, size)
    reader[size - 1 : size] = b"x"
    assert not _linux.has_private_pages(reader, 0, HUGE_PAGE_BYTES)
    assert _linux.has_private_pages(reader, HUGE_PAGE_BYTES, HUGE_PAGE_BYTES)
    os.close(fd)


@needs_pagemap
@pytest.mark.usefixtures("pagemap_interface")
def test_discarded_private_pages_show_the_file_again(fd):
    os.pwrite(fd, b"x" * SIZE, 0)
    mapping = _linux.map_file(fd, SIZE, shared=False)
    mapping[:] = b"y" * SIZE
    assert _linux.discard_private_pages(mapping, PAGE_BYTES, PAGE_BYTES)
    assert mapping[: 2 * PAGE_BYTES] == b"y" * PAGE_BYTES + b"x" * PAGE_BYTES
    assert not _linux.has_private_pages(mapping, PAGE_BYTES, PAGE_BYTES)


def test_pages_may_be_private_where_nobody_can_tell(fd, monkeypatch):
    mapping = _linux.map_file(fd, SIZE, shared=False)

    def hidden(*arguments):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "open", hidden)
    assert _linux.has_private_pages(mapping, 0, SIZE)


def test_anonymous_memory_is_private_once_written():
    mapping = mmap.mmap(-1, SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    mapping[0:1] = b"x"
    assert _linux.has_private_pages(mapping, 0, SIZE)


def wait_for_end(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(DEADLINE_MS))


def test_pidfd_becomes_readable_when_the_process_ends():
    process = run_python("import signal; signal.pause()")
    pidfd = _linux.pidfd_open(process.pid)
    assert not os.get_inheritable(pidfd)
    process.kill()
    assert wait_for_end(pidfd)
    process.communicate()
    os.close(pidfd)


def test_pidfd_of_no_process_raises():
    process = run_python("")
    process.communicate()
    with pytest.raises(ProcessLookupError):
        _linux.pidfd_open(process.pid)


def test_child_dies_with_its_parent():
    parent = run_python(
        "import os, signal\n"
        "from flame_remote._local import _linux\n"
        "me = os.getpid()\n"
        "if os.fork() == 0:\n"
        "    _linux.die_with_parent(me)\n"
        "    print(os.getpid(), flush=True)\n"
        "signal.pause()\n"
    )
    assert parent.stdout is not None
    child = _linux.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    assert wait_for_end(child)
    parent.communicate()
    os.close(child)


def test_child_whose_parent_died_first_dies_at_once():
    process = run_python(
        "import os\n"
        "from flame_remote._local import _linux\n"
        "_linux.die_with_parent(os.getpid())\n"  # that is not its parent
        "print('alive')\n"
    )
    assert process.communicate() == ("", None)
    assert process.returncode == -signal.SIGKILL


def test_subreaper_becomes_the_parent_of_orphans():
    process = run_python(
        "import os\n"
        "from flame_remote._local import _linux\n"
        "_linux.become_subreaper()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    if os.fork() == 0:\n"
        "        os.read(0, 1)\n"
        "        os._exit(7)\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )
    assert process.communicate()[0] == "7\n"


def test_import_loads_no_ctypes():
    process = run_python("import sys, flame_remote._local._linux\nprint('ctypes' in sys.modules)\n")
    assert process.communicate()[0] == "False\n"
