"""What the cache keeps: in memory, on disk, and what it lets go of."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from flame_remote._server import cached_object
from flame_remote._server.cache_content import Content, read_content
from flame_remote._server.cache_disk import CacheDisk
from flame_remote._server.cache_store import CacheFullError, CacheLimits, CacheStore
from flame_remote.core.object_key import ObjectKey
from flame_remote.core.payload import SENT_SCHEMA, sent_batch


def content(data: bytes) -> Content:
    return read_content(SENT_SCHEMA, iter([sent_batch(data)]), None)


def key(name: str = "object") -> ObjectKey:
    return ObjectKey("app", "session", name)


def data_of(store: CacheStore, which: ObjectKey) -> list[bytes]:
    table = store.read(which).answer_to(0)
    return [value.as_py() for value in table.column("data")]


# --- memory ---------------------------------------------------------------------------------------


def test_what_was_used_longest_ago_is_lost_where_there_is_no_disk() -> None:
    store = CacheStore(CacheLimits(memory_bytes=300), None)
    for name in "abc":
        store.replace(key(name), content(bytes(100)))
    store.read(key("a"))
    store.replace(key("d"), content(bytes(100)))
    with pytest.raises(KeyError):
        store.read(key("b"))
    assert store.count(None) == (3, 300)
    assert store.memory_bytes == 300


def test_the_number_of_objects_may_be_limited_too() -> None:
    store = CacheStore(CacheLimits(objects=2), None)
    for name in "abc":
        store.replace(key(name), content(b"x"))
    assert [str(k) for k, _ in store.listing()] == ["app/session/b", "app/session/c"]


def test_without_eviction_a_full_cache_says_so() -> None:
    store = CacheStore(CacheLimits(memory_bytes=100, evicts=False), None)
    store.replace(key("a"), content(bytes(60)))
    with pytest.raises(CacheFullError, match="60 of 100 bytes are in use"):
        store.replace(key("b"), content(bytes(60)))
    with pytest.raises(CacheFullError):
        store.append(key("a"), pa.py_buffer(bytes(60)))
    store.delete(key("a"))
    store.replace(key("b"), content(bytes(60)))


def test_an_object_that_can_never_fit_is_refused_and_evicts_nothing() -> None:
    store = CacheStore(CacheLimits(memory_bytes=100), None)
    store.replace(key("a"), content(bytes(60)))
    with pytest.raises(CacheFullError, match="has 101 bytes, this cache holds 100 at most"):
        store.replace(key("b"), content(bytes(101)))
    assert store.count(None) == (1, 60)
    with pytest.raises(pa.ArrowInvalid, match="takes at most 100 bytes"):
        read_content(SENT_SCHEMA, iter([sent_batch(bytes(101))]), 100)


def test_what_is_read_stays_what_it_was() -> None:
    store = CacheStore(CacheLimits(), None)
    store.replace(key(), content(b"old"))
    seen = store.read(key())
    store.append(key(), pa.py_buffer(b"patch"))
    store.replace(key(), content(b"new"))
    assert seen.answer_to(0).column("data").to_pylist() == [b"old"]


def test_changes_of_one_object_are_in_order() -> None:
    store = CacheStore(CacheLimits(), None)
    store.replace(key(), content(b""))
    begin = threading.Barrier(4)

    def work(_: int) -> list[int]:
        begin.wait(20)
        return [store.append(key(), pa.py_buffer(b"x")) for _ in range(100)]

    with ThreadPoolExecutor(4) as pool:
        versions = [version for some in pool.map(work, range(4)) for version in some]
    assert sorted(versions) == list(range(2, 402))


# --- disk -----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "objects"


def test_what_is_evicted_comes_back_from_disk(folder: Path) -> None:
    store = CacheStore(CacheLimits(memory_bytes=150), CacheDisk(str(folder)))
    for name in "abc":
        store.replace(key(name), content(name.encode() * 100))
    store.append(key("a"), pa.py_buffer(b"patch"))
    store.replace(key("d"), content(bytes(1000)))  # larger than memory may be
    assert store.memory_bytes <= 150
    assert data_of(store, key("a")) == [b"a" * 100, b"patch"]
    assert store.count(None)[0] == 4
    assert data_of(store, key("d")) == [bytes(1000)]
    assert store.replace(key("a"), content(b"")) == 3


def test_a_new_process_finds_what_the_last_one_had(folder: Path) -> None:
    store = CacheStore(CacheLimits(), CacheDisk(str(folder)))
    made = store.put_new(ObjectKey("app", "session"), content(b"base"))
    store.append(made, pa.py_buffer(b"one"))
    store.append(made, pa.py_buffer(b"two"))
    table = pa.table({"a": [1, 2]}).replace_schema_metadata(
        {"flame.cache.format": "arrow-table-v1"}
    )
    for _ in range(2):
        version = store.replace(
            key("table"), read_content(table.schema, iter(table.to_batches()), None)
        )
    assert version == 2
    again = CacheStore(CacheLimits(), CacheDisk(str(folder)))
    assert again.count(None)[0] == 2
    assert data_of(again, made) == [b"base", b"one", b"two"]
    assert again.read(made).version == 3
    assert again.read(key("table")).version == 2
    assert again.read(key("table")).answer_to(0).equals(table)


def test_an_update_leaves_no_patch_behind(folder: Path) -> None:
    store = CacheStore(CacheLimits(), CacheDisk(str(folder)))
    store.replace(key(), content(b"old"))
    store.append(key(), pa.py_buffer(b"patch"))
    store.replace(key(), content(b"new"))
    assert sorted(path.name for path in (folder / "app/session").iterdir()) == ["object.arrow"]


def test_patches_older_than_their_base_count_for_nothing(folder: Path) -> None:
    disk = CacheDisk(str(folder))
    store = CacheStore(CacheLimits(), disk)
    store.replace(key(), content(b"old"))
    store.append(key(), pa.py_buffer(b"patch"))
    # As if the process had been killed between the two steps of an update.
    made = cached_object.of_bytes(3, pa.py_buffer(b"new"))
    disk.stage(made.schema, made.base).replace(folder / "app/session/object.arrow")
    assert data_of(CacheStore(CacheLimits(), CacheDisk(str(folder))), key()) == [b"new"]


def test_an_object_that_a_client_wrote_is_there_as_version_1(folder: Path) -> None:
    store = CacheStore(CacheLimits(), CacheDisk(str(folder)))
    path = folder / "app/session/object.arrow"
    path.parent.mkdir(parents=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SENT_SCHEMA) as writer:
        writer.write_batch(sent_batch(b"theirs"))
    assert data_of(store, key()) == [b"theirs"]
    assert store.read(key()).version == 1
    store.delete(key())
    assert not path.exists()


@pytest.mark.parametrize("pattern", ["app/session/object", "app/session", "app/*"])
def test_deleting_frees_the_files_too(folder: Path, pattern: str) -> None:
    store = CacheStore(CacheLimits(), CacheDisk(str(folder)))
    store.replace(key(), content(b"x"))
    store.append(key(), pa.py_buffer(b"patch"))
    store.delete(ObjectKey.parse(pattern))
    with pytest.raises(KeyError):
        store.read(key())
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_what_was_unfinished_is_gone_at_the_next_start(folder: Path) -> None:
    disk = CacheDisk(str(folder))
    disk.stage(SENT_SCHEMA, (sent_batch(b"half"),))
    assert [path for path in folder.rglob("*") if path.is_file()] != []
    CacheDisk(str(folder))
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_files_of_others_in_the_folder_are_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "README.arrow").touch()
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "..odd.arrow").touch()
    assert CacheStore(CacheLimits(), CacheDisk(str(folder))).count(None) == (0, 0)
