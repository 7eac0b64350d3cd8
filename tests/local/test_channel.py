from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Iterator

import pytest

from flame_remote._local.channel import Receiver, Sender
from flame_remote._local.messages import (
    HEADER,
    Counts,
    Free,
    Hello,
    Message,
    Recall,
    Results,
    Returned,
    Segment,
    encode,
)

Pair = tuple[socket.socket, socket.socket]
SOME: list[Message] = [
    Hello(),
    Counts([1, 2], [], [3]),
    Results([(7, 1, "text", ()), (8, 2, b"\x80" * 300, (1 << 40,))], {5: (2, 0.25)}),
    Returned(list(range(100))),
    Recall(),
]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two ends of a stream; the first does not block, as the driver's does not."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def open_file() -> Iterator[int]:
    descriptor = os.memfd_create("test-channel")
    os.write(descriptor, b"content")
    yield descriptor
    os.close(descriptor)


def received(receiver: Receiver) -> list[Message]:
    """Return what is there."""
    messages = receiver.receive(socket.MSG_DONTWAIT)
    assert messages is not None
    return messages


def clog(sender: Sender) -> int:
    """Send messages until the socket takes no more; return how many."""
    number = 0
    while not sender.is_clogged:
        sender.send(Returned([number] * 1000))
        number += 1
    return number


def test_messages_cut_at_every_byte_boundary_arrive_whole(pair: Pair) -> None:
    ours, theirs = pair
    receiver = Receiver(ours)
    stream = b"".join(map(encode, SOME))
    for cut in range(1, len(stream)):
        theirs.sendall(stream[:cut])
        first = received(receiver)
        theirs.sendall(stream[cut:])
        assert first + received(receiver) == SOME


def test_messages_that_arrive_byte_by_byte_arrive_whole(pair: Pair) -> None:
    ours, theirs = pair
    receiver = Receiver(ours)
    messages: list[Message] = []
    for byte in b"".join(map(encode, SOME)):
        theirs.sendall(bytes([byte]))
        messages += received(receiver)
    assert messages == SOME


def test_stream_cut_anywhere_again_and_again_arrives_whole(pair: Pair) -> None:
    ours, theirs = pair
    receiver = Receiver(ours)
    chance = random.Random(1)
    sent = chance.choices(SOME, k=2000)
    stream = b"".join(map(encode, sent))
    messages: list[Message] = []
    while stream:
        cut = chance.choice([1, 7, 8, 9, 500, 20_000])
        theirs.sendall(stream[:cut])
        stream = stream[cut:]
        messages += received(receiver)
    assert messages == sent


def test_frame_larger_than_the_buffer_arrives_between_small_ones(pair: Pair) -> None:
    ours, theirs = pair
    ours.setblocking(True)
    large = Results([(1, 2, os.urandom(3 << 20), ())], {})
    expected = [Hello(), large, *SOME]
    writer = threading.Thread(target=theirs.sendall, args=(b"".join(map(encode, expected)),))
    writer.start()
    receiver = Receiver(ours)
    messages: list[Message] = []
    while len(messages) < len(expected):
        messages += receiver.receive() or []
    writer.join()
    assert messages == expected


def test_nothing_to_receive_raises_blocking_io_error(pair: Pair) -> None:
    with pytest.raises(BlockingIOError):
        Receiver(pair[0]).receive()


def test_end_of_stream_is_none_even_within_a_frame(pair: Pair) -> None:
    ours, theirs = pair
    receiver = Receiver(ours)
    theirs.sendall(encode(Hello()) + encode(SOME[2])[:-1])
    theirs.close()
    assert receiver.receive() == [Hello()]
    assert receiver.receive() is None


def test_torn_frame_before_whole_ones_raises_value_error(pair: Pair) -> None:
    ours, theirs = pair
    frame = encode(Returned(list(range(100))))
    for cut in range(HEADER.size + 15, len(frame), 5):
        theirs.sendall(frame[:cut] + frame * 3)
        with pytest.raises(ValueError, match="not a"):
            Receiver(ours).receive()


@pytest.mark.parametrize("seed", range(200))
def test_random_bytes_raise_value_error(pair: Pair, seed: int) -> None:
    ours, theirs = pair
    theirs.sendall(random.Random(seed).randbytes(400))
    with pytest.raises(ValueError, match="not a frame"):
        Receiver(ours).receive()


def test_random_bytes_in_a_frame_of_ours_raise_value_error(pair: Pair) -> None:
    ours, theirs = pair
    for body in (b"", b"\0", b"no pickle", b"\x80\x05N.", b"\x80\x05K\xff\x85."):
        theirs.sendall(HEADER.pack(len(body), 0) + body)
        with pytest.raises(ValueError, match="not a message"):
            Receiver(ours).receive()


def test_descriptors_arrive_with_their_message(pair: Pair, open_file: int) -> None:
    ours, theirs = pair
    sender, receiver = Sender(ours), Receiver(theirs)
    sender.send(Hello())
    sender.send(Segment(5), [open_file])
    sender.send(Recall())
    messages: list[Message] = []
    while Segment(5) not in messages:
        messages += received(receiver)
    (descriptor,) = receiver.descriptors
    assert os.pread(descriptor, 10, 0) == b"content"
    assert not os.get_inheritable(descriptor)
    receiver.close()


def test_descriptors_arrive_in_the_order_of_their_messages(pair: Pair) -> None:
    ours, theirs = pair
    sender, receiver = Sender(ours), Receiver(theirs)
    for number in range(20):
        descriptor = os.memfd_create("test-channel")
        os.write(descriptor, str(number).encode())
        sender.send(Segment(number), [descriptor])
        os.close(descriptor)
    segments: list[int] = []
    while len(segments) < 20:
        for message in received(receiver):
            descriptor = receiver.descriptors.popleft()
            assert os.pread(descriptor, 10, 0) == str(message[0]).encode()
            os.close(descriptor)
            segments.append(message[0])
    assert segments == list(range(20))


def test_descriptors_that_nobody_took_are_closed(pair: Pair, open_file: int) -> None:
    ours, theirs = pair
    receiver = Receiver(theirs)
    Sender(ours).send(Segment(1), [open_file, open_file])
    received(receiver)
    descriptors = list(receiver.descriptors)
    receiver.close()
    assert len(descriptors) == 2
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_sender_keeps_what_a_full_socket_refuses_and_preserves_order(
    pair: Pair, open_file: int
) -> None:
    ours, theirs = pair
    sender, receiver = Sender(ours), Receiver(theirs)
    number = clog(sender)
    sender.send(Segment(9), [open_file])
    sender.send(Hello())
    expected = [*(Returned([n] * 1000) for n in range(number)), Segment(9), Hello()]
    messages: list[Message] = []
    while len(messages) < len(expected):
        messages += received(receiver)
        sender.flush()
    assert messages == expected
    assert not sender.is_clogged
    assert len(receiver.descriptors) == 1
    receiver.close()


def test_sender_drops_what_nobody_will_read(pair: Pair) -> None:
    ours, theirs = pair
    sender = Sender(ours)
    clog(sender)
    theirs.close()
    sender.flush()
    assert not sender.is_clogged
    sender.send(Free([]))
    assert not sender.is_clogged
