from __future__ import annotations

import errno
import os
import pickle
import random
import resource
from collections.abc import Callable

import numpy as np
import pytest

from flame_remote._local import _linux, stored_value
from flame_remote._local._linux import PAGE_BYTES
from flame_remote._local.arena import SEGMENT_SHIFT, Extent
from flame_remote._local.mapping import MappingCache
from flame_remote._local.spill import SPILL_NUMBER, SpillFile
from flame_remote.exceptions import ObjectError, SpillError


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[int, int]] = []

    def announce(self, segment: int, fd: int) -> None:
        self.heard.append((segment, fd))

    @property
    def fd(self) -> int:
        return self.heard[-1][1]

    def disk_bytes(self) -> int:
        return os.fstat(self.fd).st_blocks * 512


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def spill(tmp_path, listener):
    spill = SpillFile(3, listener.announce, str(tmp_path))
    yield spill
    spill.close()


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


def read(spill: SpillFile, extent: Extent) -> bytes:
    data = bytearray(extent.size)
    spill.read(extent, memoryview(data))
    return bytes(data)


def stored_array(array: np.ndarray) -> memoryview:
    views: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(array, protocol=5, buffer_callback=views.append)
    buffers = [view.raw() for view in views]
    value = bytearray(stored_value.measure(pickled, buffers))
    stored_value.write(memoryview(value), pickled, buffers)
    return memoryview(value)


def test_what_is_spilled_is_read_back_padded_to_whole_pages(spill):
    extent = spill.write(memoryview(b"x" * (PAGE_BYTES + 1)))
    assert extent == Extent(3 << SEGMENT_SHIFT | SPILL_NUMBER, 0, 2 * PAGE_BYTES)
    assert read(spill, extent) == b"x" * (PAGE_BYTES + 1) + bytes(PAGE_BYTES - 1)
    assert spill.used_bytes == 2 * PAGE_BYTES


def test_file_is_made_by_the_first_write_announced_once_and_has_no_name(spill, listener, tmp_path):
    assert listener.heard == []
    spill.write(memoryview(b"a"))
    spill.write(memoryview(b"b"))
    assert [segment for segment, _ in listener.heard] == [spill.segment]
    assert os.fstat(listener.fd).st_nlink == 0
    assert not os.get_inheritable(listener.fd)
    assert os.listdir(tmp_path) == []


def test_directory_is_the_system_s_unless_said_otherwise(monkeypatch, tmp_path, listener):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spill = SpillFile(3, listener.announce)
    spill.write(memoryview(b"a"))
    assert os.fstat(listener.fd).st_dev == os.stat(tmp_path).st_dev
    spill.close()


def test_freed_space_is_given_back_and_used_again(spill, listener):
    first = spill.write(memoryview(b"1" * 40 * PAGE_BYTES))
    second = spill.write(memoryview(b"2" * PAGE_BYTES))
    before = listener.disk_bytes()
    spill.free(first)
    assert listener.disk_bytes() <= before - first.size
    third = spill.write(memoryview(b"3" * 10 * PAGE_BYTES))
    assert third.offset == first.offset
    assert read(spill, second) == b"2" * PAGE_BYTES
    assert read(spill, third) == b"3" * 10 * PAGE_BYTES
    assert spill.used_bytes == 11 * PAGE_BYTES


def test_extents_come_and_go_at_random_and_are_always_right(spill, listener):
    choose = random.Random(2)
    model: dict[Extent, bytes] = {}
    for step in range(400):
        if choose.random() < 0.55 or not model:
            data = bytes([step % 251 + 1]) * choose.randrange(1, 5 * PAGE_BYTES)
            extent = spill.write(memoryview(data))
            assert all(extent.end <= other.offset or other.end <= extent.offset for other in model)
            model[extent] = data
        else:
            extent = choose.choice(list(model))
            assert read(spill, extent).rstrip(b"\0") == model.pop(extent)
            spill.free(extent)
        assert spill.used_bytes == sum(extent.size for extent in model)
    for extent in model:
        spill.free(extent)
    assert listener.disk_bytes() < 16 * PAGE_BYTES
    ((start, end),) = spill._free._ranges
    assert (start, end) == (0, spill._end)


def test_extent_cannot_be_freed_twice(spill):
    extent = spill.write(memoryview(b"a"))
    spill.free(extent)
    with pytest.raises(ValueError, match="not in use"):
        spill.free(extent)


def test_full_disk_is_a_typed_error_that_leaves_no_trace(spill, listener, monkeypatch, tmp_path):
    kept = spill.write(memoryview(b"k" * PAGE_BYTES))
    before = listener.disk_bytes()
    pwrite = os.pwrite

    def disk_with_one_page(fd, data, offset):
        if offset >= kept.end + PAGE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(fd, data[:PAGE_BYTES], offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", disk_with_one_page)
        with pytest.raises(SpillError) as caught:
            spill.write(memoryview(b"x" * 5 * PAGE_BYTES))
    assert (caught.value.errno, caught.value.path) == (errno.ENOSPC, str(tmp_path))
    assert caught.value.free_bytes > 0
    assert listener.disk_bytes() == before
    assert spill.used_bytes == kept.size
    assert read(spill, kept) == b"k" * PAGE_BYTES
    assert spill.write(memoryview(b"x" * 5 * PAGE_BYTES)).offset == kept.end


def test_limit_of_file_size_is_a_typed_error(tmp_path, listener):
    def child() -> bool:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * PAGE_BYTES, 2 * PAGE_BYTES))
        spill = SpillFile(3, listener.announce, str(tmp_path))
        kept = spill.write(memoryview(b"k" * PAGE_BYTES))
        try:
            spill.write(memoryview(b"x" * 2 * PAGE_BYTES))
        except SpillError as error:
            if error.errno != errno.EFBIG:
                return False
        return read(spill, kept) == b"k" * PAGE_BYTES

    assert in_child(child)


def test_directory_that_is_not_there_is_a_typed_error(listener, tmp_path):
    spill = SpillFile(3, listener.announce, str(tmp_path / "missing"))
    with pytest.raises(SpillError) as caught:
        spill.write(memoryview(b"x"))
    assert caught.value.errno == errno.ENOENT
    (tmp_path / "missing").mkdir()
    spill.write(memoryview(b"x"))
    spill.close()


@pytest.mark.parametrize("damage", ["flipped", "truncated"])
def test_damaged_extent_is_an_error_and_never_wrong_data(spill, listener, damage):
    kept = spill.write(stored_array(np.arange(3000)))
    extent = spill.write(stored_array(np.arange(5000)))
    cache = MappingCache()
    cache.add_segment(spill.segment, listener.fd)
    if damage == "flipped":
        os.pwrite(listener.fd, b"\xff", extent.end - PAGE_BYTES)
    else:
        os.ftruncate(listener.fd, extent.offset + PAGE_BYTES)
    with pytest.raises(SpillError) as caught:
        read(spill, extent)
    assert caught.value.errno == errno.EIO
    with pytest.raises(ObjectError):
        cache.open(extent, lambda: None, spill.checksum(extent))
    cache.open(kept, lambda: None, spill.checksum(kept))
    cache.close()


def test_disk_that_cannot_be_read_is_a_typed_error(spill, listener, monkeypatch):
    extent = spill.write(stored_array(np.arange(5000)))
    cache = MappingCache()
    cache.add_segment(spill.segment, listener.fd)

    def broken(fd, buffers, offset):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", broken)
        with pytest.raises(SpillError):
            cache.open(extent, lambda: None, spill.checksum(extent))
        with pytest.raises(SpillError):
            read(spill, extent)
    cache.open(extent, lambda: None, spill.checksum(extent))
    cache.close()


def test_spilled_value_is_mapped_like_any_other(spill, listener):
    cache = MappingCache()
    first = spill.write(stored_array(np.arange(5000)))
    cache.add_segment(spill.segment, listener.fd)
    released: list[str] = []

    def get(extent: Extent, name: str) -> np.ndarray:
        pickled, buffers = cache.open(extent, lambda: released.append(name), spill.checksum(extent))
        return pickle.loads(pickled, buffers=buffers)

    mine, yours = get(first, "mine"), get(first, "yours")
    mine[:] = 0
    assert yours.sum() == sum(range(5000))
    # The file grows after it was mapped.
    seconds = [spill.write(stored_array(np.full(5000, n))) for n in range(20)]
    arrays = [get(extent, "second") for extent in seconds]
    assert [int(array.max()) for array in arrays] == list(range(20))
    assert len(cache._planes[spill.segment]) < 10
    assert released == []
    del mine
    assert released == ["mine"]
    cache.close()


def test_space_that_is_used_again_shows_nothing_of_the_old_value(spill, listener):
    cache = MappingCache()
    first = spill.write(stored_array(np.full(5000, 1)))
    cache.add_segment(spill.segment, listener.fd)
    pickled, buffers = cache.open(first, lambda: None, spill.checksum(first))
    pickle.loads(pickled, buffers=buffers)[::1000] = 9
    del pickled, buffers
    spill.free(first)
    second = spill.write(stored_array(np.full(5000, 2)))
    assert second == first
    pickled, buffers = cache.open(second, lambda: None, spill.checksum(second))
    assert np.unique(pickle.loads(pickled, buffers=buffers)).tolist() == [2]
    cache.close()


def test_works_where_holes_cannot_be_punched(spill, monkeypatch):
    monkeypatch.setattr(_linux, "punch_hole", lambda fd, offset, size: False)
    first = spill.write(memoryview(b"1" * 2 * PAGE_BYTES))
    spill.free(first)
    second = spill.write(memoryview(b"2"))
    assert second.offset == first.offset
    assert read(spill, second) == b"2" + bytes(PAGE_BYTES - 1)


def test_close_may_be_called_twice_and_gives_the_space_back(spill, listener):
    spill.write(memoryview(b"1" * PAGE_BYTES))
    fd = listener.fd
    spill.close()
    spill.close()
    assert spill.used_bytes == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    spill.write(memoryview(b"2"))
    assert len(listener.heard) == 2
