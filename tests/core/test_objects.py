"""Objects through a real cache: versions, patches, bytes, files, keys."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flame_remote.core import object_calls, objects
from flame_remote.core.context import FlameContext
from flame_remote.core.objects import ObjectRef
from flame_remote.exceptions import ClusterError, FlameErrorCode
from tests.caches import Cache


@pytest.fixture
def context(cache: Cache) -> FlameContext:
    return cache.context


@pytest.fixture
def prefix() -> str:
    """Return a prefix that no other test uses."""
    return f"app-{uuid.uuid4()}/session"


def both(base: Any, patches: list[Any]) -> tuple[Any, list[Any]]:
    return base, patches


# --- values ---------------------------------------------------------------------------------------


def test_a_new_object_gets_a_key_under_its_prefix_and_version_1(
    cache: Cache, context: FlameContext, prefix: str
) -> None:
    ref = objects.put_object(prefix, {"a": [1]}, context=context)
    assert ref.endpoint == cache.endpoint
    assert uuid.UUID(ref.key.removeprefix(f"{prefix}/")).version == 4
    assert ref.version == 1
    assert objects.get_object(ref, context=context) == {"a": [1]}


def test_the_context_is_that_of_the_environment(
    cache: Cache, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAME_CACHE_ENDPOINT", cache.endpoint)
    assert objects.get_object(objects.put_object(prefix, 1)) == 1


def test_each_get_returns_an_object_of_its_own(context: FlameContext, prefix: str) -> None:
    ref = objects.put_object(prefix, [1], context=context)
    first = objects.get_object(ref, context=context)
    first.append(2)
    assert objects.get_object(ref, context=context) == [1]


def test_a_value_that_is_no_ref_is_returned_as_it_is(context: FlameContext) -> None:
    value = {"no": "ref"}
    assert objects.get_object(value, context=context) is value
    assert objects.get_object(None, both) is None


def test_an_update_replaces_the_object_and_its_patches(context: FlameContext, prefix: str) -> None:
    ref = objects.put_object(prefix, "old", context=context)
    objects.patch_object(ref, "patch", context=context)
    updated = objects.update_object(ref, "new", context=context)
    assert updated == ObjectRef(ref.endpoint, ref.key, 3)
    assert objects.get_object(ref, both, context=context) == ("new", [])


def test_patches_come_in_order_and_only_to_who_asks(context: FlameContext, prefix: str) -> None:
    ref = objects.put_object(prefix, "base", context=context)
    versions = [objects.patch_object(ref, i, context=context).version for i in range(50)]
    assert versions == list(range(2, 52))
    assert objects.get_object(ref, context=context) == "base"
    assert objects.get_object(ref, both, context=context) == ("base", list(range(50)))


def test_what_others_change_is_seen(
    context: FlameContext, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = objects.put_object(prefix, "base", context=context)
    objects.get_object(ref, context=context)
    monkeypatch.setattr(object_calls.recent, "forget", lambda _: None)  # as another process
    objects.patch_object(ref, 1, context=context)
    assert objects.get_object(ref, both, context=context) == ("base", [1])
    objects.patch_object(ref, 2, context=context)
    assert objects.get_object(ref, both, context=context) == ("base", [1, 2])
    objects.update_object(ref, "other", context=context)
    assert objects.get_object(ref, both, context=context) == ("other", [])


def test_only_what_is_new_is_fetched(context: FlameContext, prefix: str) -> None:
    ref = objects.put_object(prefix, "base", context=context)
    objects.patch_object(ref, "one", context=context)
    cache = object_calls.main_cache(context)
    everything = cache.fetch(ref.key, 0, 10)
    assert everything.fetched is not None
    assert (everything.fetched.version, len(everything.fetched.patches)) == (2, 1)
    patch = cache.fetch(ref.key, 1, 10)
    assert patch.only_patches
    assert cache.fetch(ref.key, 2, 10).fetched is None
    later = cache.fetch(ref.key, 7, 10)  # a version that never was: the client knew another cache
    assert later.fetched is not None
    assert not later.only_patches


def test_version_0_asks_for_everything(
    context: FlameContext, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = objects.put_object(prefix, "value", context=context)
    objects.get_object(ref, context=context)
    monkeypatch.setattr(object_calls.recent, "get", lambda *_: pytest.fail("looked it up"))
    ref.version = 0
    assert objects.get_object(ref, context=context) == "value"


def test_what_is_remembered_is_bounded_in_bytes() -> None:
    from flame_remote.core.object_key import ObjectKey
    from flame_remote.core.recent_objects import FetchedObject, RecentObjects

    recent = RecentObjects(10_000)
    for name in "abc":
        recent.remember("here", f"x/y/{name}", FetchedObject(1, b"", (), 3000))
    assert [recent.get("here", f"x/y/{name}") is None for name in "abc"] == [True, False, False]
    recent.remember("here", "x/y/large", FetchedObject(1, b"", (), 10_000))
    assert recent.get("here", "x/y/large") is None
    assert recent.get("there", "x/y/c") is None
    recent.forget(ObjectKey.parse("x/*"))
    assert recent.get("here", "x/y/c") is None


# --- bytes and files ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 65_536, 5_000_000])
def test_bytes_come_back_as_they_were(context: FlameContext, prefix: str, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    ref = objects.put_bytes(prefix, memoryview(data), context=context)
    assert objects.get_bytes(ref, context=context) == data


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_bytes_put_as_a_pickle_are_a_value_to_everybody_else(
    context: FlameContext, prefix: str, size: int
) -> None:
    import pickle

    pickled = pickle.dumps("x" * size)
    ref = objects.put_bytes(f"{prefix}/named", pickled, pickled=True, context=context)
    assert ref.key == f"{prefix}/named"
    assert objects.get_object(ref, context=context) == "x" * size
    assert objects.get_bytes(ref, pickled=True, context=context) == pickled


def test_bytes_of_what_has_none_are_refused(context: FlameContext, prefix: str) -> None:
    import pyarrow as pa

    table = objects.put_object(prefix, pa.table({"a": [1]}), context=context)
    with pytest.raises(ClusterError, match="it is an Arrow table, not bytes; use get_object"):
        objects.get_bytes(table, context=context)
    raw = objects.put_bytes(prefix, b"raw", context=context)
    with pytest.raises(ClusterError, match="it is no pickle"):
        objects.get_bytes(raw, pickled=True, context=context)


@pytest.mark.parametrize("size", [0, 10, 3 * 2**20 + 1])
def test_a_file_goes_up_and_down(
    context: FlameContext, prefix: str, tmp_path: Path, size: int
) -> None:
    source, target = tmp_path / "source", tmp_path / "folder" / "target"
    source.write_bytes(b"\x01\x02\x03" * (size // 3) + b"z" * (size % 3))
    ref = objects.upload_object(f"{prefix}/file.tar.gz", source, context=context)
    assert (ref.key, ref.version) == (f"{prefix}/file.tar.gz", 1)
    objects.download_object(ref, target, context=context)
    assert target.read_bytes() == source.read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["target"]
    assert objects.upload_object(f"{prefix}/file.tar.gz", source, context=context).version == 2


def test_a_download_that_fails_leaves_the_file_as_it_was(
    cache: Cache, context: FlameContext, prefix: str, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_text("before")
    with pytest.raises(ClusterError, match=f"cannot get object {prefix}/none"):
        objects.download_object(
            ObjectRef(cache.endpoint, f"{prefix}/none"), target, context=context
        )
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_that_cannot_be_read_is_not_uploaded(
    context: FlameContext, prefix: str, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        objects.upload_object(prefix, tmp_path / "missing", context=context)
    assert objects.count_objects(prefix, context=context).keys == 0


def test_an_upload_that_breaks_off_leaves_nothing(
    context: FlameContext, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flame_remote.core import payload

    file = tmp_path / "file"
    file.write_bytes(b"x" * (3 << 20))
    sent = iter(range(2))
    real = payload.sent_batch

    def break_off(data: bytes) -> Any:
        if next(sent, None) is None:
            raise OSError(5, "the disk is broken")
        return real(data)

    monkeypatch.setattr(payload, "sent_batch", break_off)
    with pytest.raises(OSError, match="the disk is broken"):
        objects.upload_object(f"{prefix}/file", file, context=context)
    assert objects.count_objects(prefix, context=context).keys == 0


# --- keys -----------------------------------------------------------------------------------------


def test_objects_are_counted_and_deleted_one_by_one_by_session_and_by_application(
    context: FlameContext,
) -> None:
    application = f"app-{uuid.uuid4()}"
    refs = [
        objects.put_object(f"{application}/{session}", "x", context=context)
        for session in ("one", "one", "two", "two", "three")
    ]
    assert objects.count_objects(f"{application}/*", context=context).keys == 5
    objects.delete_object(refs[0], context=context)
    objects.delete_object(refs[0], context=context)  # it need not exist
    assert objects.count_objects(f"{application}/one", context=context).keys == 1
    objects.delete_objects(f"{application}/two", context=context)
    assert objects.count_objects(f"{application}/*", context=context).keys == 2
    objects.delete_objects(f"{application}/*", context=context)
    assert objects.count_objects(f"{application}/*", context=context) == objects.ObjectCount(0, 0)


@pytest.mark.parametrize("has_the_action", [True, False])
def test_many_objects_are_deleted_at_once_whatever_the_cache_knows(
    context: FlameContext, prefix: str, has_the_action: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_the_action:  # as Flame's own cache: the action is refused once, and not asked again
        connection: Any = object_calls.main_cache(context)._connection
        monkeypatch.setattr(connection, "knows_delete_many", False)
    refs = [objects.put_object(prefix, i, context=context) for i in range(100)]
    objects.delete_many([*refs[:50], *(ref.key for ref in refs[50:99])], context=context)
    assert objects.count_objects(prefix, context=context).keys == 1
    objects.delete_many([], context=context)


def test_what_does_not_exist_is_named(cache: Cache, context: FlameContext, prefix: str) -> None:
    missing = ObjectRef(cache.endpoint, f"{prefix}/missing", 1)
    for call in (
        lambda: objects.get_object(missing, context=context),
        lambda: objects.get_bytes(missing, context=context),
        lambda: objects.patch_object(missing, 1, context=context),
    ):
        with pytest.raises(ClusterError, match=f"{prefix}/missing: it is not in the") as raised:
            call()
        assert raised.value.code == FlameErrorCode.NOT_FOUND
        assert "Traceback" not in str(raised.value)


def test_a_wrong_key_is_refused_before_anything_is_sent() -> None:
    nowhere = FlameContext(cache_endpoint="grpc://127.0.0.1:1")
    for call in (
        lambda: objects.put_object("a/*", 1, context=nowhere),
        lambda: objects.put_object("a", 1, context=nowhere),
        lambda: objects.get_object(ObjectRef("grpc://127.0.0.1:1", "a/b"), context=nowhere),
        lambda: objects.update_object(ObjectRef("x", "a/../b"), 1, context=nowhere),
        lambda: objects.delete_objects("*/a", context=nowhere),
        lambda: objects.delete_many(["a/b"], context=nowhere),
        lambda: objects.upload_object("a/*", __file__, context=nowhere),
    ):
        with pytest.raises(ClusterError, match=r"object key '(a|\*)") as raised:
            call()
        assert raised.value.code == FlameErrorCode.INVALID_ARGUMENT


def test_a_table_takes_no_patches(context: FlameContext, prefix: str) -> None:
    import pyarrow as pa

    ref = objects.put_object(prefix, pa.table({"a": [1]}), context=context)
    with pytest.raises(
        ClusterError, match="it is an Arrow table, which takes no patches"
    ) as raised:
        objects.patch_object(ref, 1, context=context)
    assert raised.value.code == FlameErrorCode.INVALID_ARGUMENT


def test_an_object_takes_a_thousand_patches_and_then_an_update(
    context: FlameContext, prefix: str
) -> None:
    ref = objects.put_object(prefix, 0, context=context)
    for _ in range(1000):
        objects.patch_object(ref, 1, context=context)
    with pytest.raises(ClusterError, match="1000 patches, which is the most"):
        objects.patch_object(ref, 1, context=context)
    total = objects.get_object(ref, lambda base, patches: base + sum(patches), context=context)
    assert total == 1000
    assert objects.update_object(ref, 0, context=context).version == 1002


# --- threads --------------------------------------------------------------------------------------


def test_threads_share_a_connection_and_lose_no_version(context: FlameContext, prefix: str) -> None:
    ref = objects.put_object(f"{prefix}/shared", 0, context=context)
    begin = threading.Barrier(8)

    def work(number: int) -> list[int]:
        begin.wait(30)
        versions = []
        for i in range(20):
            own = objects.put_object(prefix, (number, i), context=context)
            assert objects.get_object(own, context=context) == (number, i)
            versions.append(objects.patch_object(ref, number, context=context).version)
            objects.delete_object(own, context=context)
        return versions

    with ThreadPoolExecutor(8) as pool:
        versions = [version for made in pool.map(work, range(8)) for version in made]
    assert sorted(versions) == list(range(2, 162))
    _, patches = objects.get_object(ref, both, context=context)
    assert sorted(patches) == sorted(list(range(8)) * 20)
    assert objects.count_objects(prefix, context=context).keys == 1
