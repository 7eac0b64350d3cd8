from __future__ import annotations

import inspect
import pickle
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_remote._local import messages
from flame_remote._local.messages import HEADER, MESSAGES, Counts, Hello, RunTasks, decode, encode

# Plain data, as fields are.
atoms = st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.binary(max_size=50)
fields = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.integers(), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.sampled_from(MESSAGES), st.data())
def test_every_message_comes_back_as_it_was(message: Any, data: st.DataObject) -> None:
    original = message(*(data.draw(fields) for _ in message._fields))
    again = decode(encode(original)[HEADER.size :])
    assert type(again) is message
    assert again == original


def test_header_says_how_long_the_body_is_and_how_many_descriptors_come_along() -> None:
    frame = encode(Counts([1], [2], [3]), 4)
    assert HEADER.unpack_from(frame) == (len(frame) - 8, 4)
    assert frame[:4] == (len(frame) - 8).to_bytes(4, "little")


def test_body_is_a_pickle_of_the_code_and_the_fields() -> None:
    assert pickle.loads(encode(RunTasks(True, []))[8:]) == (MESSAGES.index(RunTasks), True, [])


def test_every_message_of_the_module_has_one_code() -> None:
    named_tuples = [
        value
        for _, value in inspect.getmembers(messages, inspect.isclass)
        if issubclass(value, tuple) and value.__module__ == messages.__name__
    ]
    assert set(named_tuples) == set(MESSAGES)
    assert len(MESSAGES) == len(named_tuples)


def test_fields_are_plain_data() -> None:
    plain = {int, str, bytes, bool, float, list, tuple, dict, type(None), Any, Ellipsis}

    def parts(hint: Any) -> set[Any]:
        inner = [part for argument in typing.get_args(hint) for part in parts(argument)]
        origin = typing.get_origin(hint)
        return {*inner, *([origin] if isinstance(origin, type) else [])} or {hint}

    for message in MESSAGES:
        for hint in typing.get_type_hints(message).values():
            foreign = {part for part in parts(hint) if part not in plain}
            assert {part for part in foreign if "Union" not in repr(part)} == set(), message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        pickle.dumps(None),
        pickle.dumps(()),
        pickle.dumps(("Hello",)),
        pickle.dumps((len(MESSAGES),)),
        pickle.dumps((MESSAGES.index(Hello), 1)),  # a field too many
        pickle.dumps((MESSAGES.index(Counts), [])),  # fields too few
        pickle.dumps((MESSAGES.index(Hello),))[:-1],  # without its end
    ],
)
def test_what_is_no_message_raises_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a message"):
        decode(body)
