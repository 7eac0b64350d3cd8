from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from flame_remote._local._linux import memory_file
from flame_remote._local.arena import SEGMENT_SHIFT
from flame_remote._local.mapping import MappingCache
from flame_remote._local.segments import Segments
from flame_remote.exceptions import StoreFullError

OWNER = 3
SEGMENT, ANOTHER = OWNER << SEGMENT_SHIFT, OWNER << SEGMENT_SHIFT | 1
OF_ANOTHER_OWNER = (OWNER + 1) << SEGMENT_SHIFT


@pytest.fixture
def segments() -> Iterator[Segments]:
    mappings = MappingCache()
    segments = Segments(1000, mappings, lambda: None)
    yield segments
    segments.close()
    mappings.close()


def add(segments: Segments, *names: int) -> None:
    for segment in names:
        descriptor = memory_file("test-segments", 4096)
        segments.add(segment, descriptor)
        os.close(descriptor)


def test_budget_is_refused_when_it_is_spent(segments: Segments) -> None:
    segments.reserve(600)
    assert segments.free_bytes == 400
    with pytest.raises(StoreFullError) as refusal:
        segments.reserve(401)
    assert (refusal.value.needed_bytes, refusal.value.free_bytes) == (401, 400)
    segments.reserve(400)
    segments.reserve(-1000)
    assert segments.free_bytes == 1000


def test_known_segment_has_a_descriptor_of_its_own(segments: Segments) -> None:
    add(segments, SEGMENT)
    assert os.fstat(segments.descriptor(SEGMENT)).st_size == 4096
    assert not os.get_inheritable(segments.descriptor(SEGMENT))


def test_memory_of_a_living_owner_goes_back_to_it(segments: Segments) -> None:
    add(segments, SEGMENT)
    segments.reserve(500)
    segments.value_stored(SEGMENT, 300)
    assert segments.value_freed(SEGMENT, 300)
    assert segments.reserved_bytes == 500  # the owner's, until it says otherwise
    assert not segments.retired


def test_what_a_lost_owner_had_reserved_counts_only_as_far_as_values_lie_in_it(
    segments: Segments,
) -> None:
    add(segments, SEGMENT, ANOTHER, OF_ANOTHER_OWNER)
    segments.reserve(700)
    segments.value_stored(SEGMENT, 200)
    segments.value_stored(SEGMENT, 100)
    segments.owner_lost(OWNER, 600)
    assert segments.reserved_bytes == 100 + 300
    assert list(segments.retired) == [ANOTHER]
    assert not segments.value_freed(SEGMENT, 200)
    assert segments.reserved_bytes == 200
    assert not segments.value_freed(SEGMENT, 100)
    assert segments.reserved_bytes == 100
    assert list(segments.retired) == [ANOTHER, SEGMENT]
    assert os.fstat(segments.descriptor(OF_ANOTHER_OWNER))


def test_lost_owner_without_segments_gives_its_budget_back(segments: Segments) -> None:
    segments.reserve(50)
    segments.owner_lost(OWNER, 50)
    assert segments.reserved_bytes == 0


def test_segment_that_its_owner_dropped_is_told_of_once(segments: Segments) -> None:
    add(segments, SEGMENT)
    descriptor = segments.descriptor(SEGMENT)
    segments.retire(SEGMENT)
    segments.retire(SEGMENT)
    assert list(segments.retired) == [SEGMENT]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    with pytest.raises(KeyError):
        segments.descriptor(SEGMENT)


def test_close_closes_every_descriptor(segments: Segments) -> None:
    add(segments, SEGMENT, ANOTHER)
    descriptors = [segments.descriptor(SEGMENT), segments.descriptor(ANOTHER)]
    segments.close()
    segments.close()
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
