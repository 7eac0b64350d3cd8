"""Checking arguments at the call site."""

from __future__ import annotations

import functools
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_remote._signature import CallSignature, misfit


def signature_of(function: Callable[..., Any], **more: bool) -> CallSignature:
    found = CallSignature.of(function, **more)
    assert found is not None
    return found


def none() -> None: ...
def defaults(a: Any, b: Any = 1, *, k: Any, l: Any = "x") -> None: ...  # noqa: E741
def everything(a: Any, /, b: Any, c: Any = 3, *more: Any, k: Any = 4, **named: Any) -> None: ...
def keywords(**named: Any) -> None: ...
def only_position(a: Any, b: Any = None, /) -> None: ...


FUNCTIONS = [none, defaults, everything, keywords, only_position]
NAMES = ["a", "b", "c", "k", "l", "z", "self", "name"]


@pytest.mark.parametrize("function", FUNCTIONS)
@given(st.lists(st.none(), max_size=4), st.dictionaries(st.sampled_from(NAMES), st.none()))
def test_a_stand_in_refuses_what_the_function_refuses_in_the_same_words(
    function: Callable[..., None], args: list[None], kwargs: dict[str, None]
) -> None:
    def answer(called: Callable[..., None]) -> str:
        try:
            called(*args, **kwargs)
        except TypeError as error:
            return str(error)
        return "fits"

    stand_in = signature_of(function).stand_in(function.__name__)
    assert answer(stand_in) == answer(function)


def test_the_text_shows_defaults_without_annotations() -> None:
    assert signature_of(defaults).text == "(a, b=1, *, k, l='x')"

    def long(x: int = 3, y: str = "y" * 100) -> None: ...

    assert signature_of(long).text == "(x=3, y=...)"


def test_a_bound_signature_lacks_the_first_parameter() -> None:
    class C:
        def method(self, x: int) -> None: ...
        def odd(*args: int) -> None: ...

    assert signature_of(C.method, bound=True).text == "(x)"
    assert signature_of(C.odd, bound=True).text == "(*args)"


def test_what_has_no_signature_is_not_checked() -> None:
    assert CallSignature.of(max) is None


def test_a_wrapper_is_checked_by_what_it_takes_itself() -> None:
    @functools.wraps(defaults)
    def wrapper(*args: Any) -> None: ...

    assert signature_of(wrapper).text == "(*args)"
    signature_of(wrapper).stand_in("f")(1, 2, 3, 4, 5)


def test_parameters_may_have_names_that_no_source_could_hold() -> None:
    (generator,) = [
        value for value in (lambda: (i for i in ())).__code__.co_consts if inspect.iscode(value)
    ]
    assert generator.co_varnames[0] == ".0"
    odd = CallSignature("(.0)", (".0",), 0, 0, (), (), None, None)
    odd.stand_in("f")(1)
    with pytest.raises(TypeError, match=r"f\(\) missing 1 required positional argument: '.0'"):
        odd.stand_in("f")()


def test_a_signature_pickles_whatever_the_defaults_are() -> None:
    def function(lock: Any = object()) -> None: ...  # noqa: B008

    found = signature_of(function)
    assert pickle.loads(pickle.dumps(found)) == found


def test_the_error_shows_the_signature() -> None:
    found = signature_of(defaults)
    with pytest.raises(TypeError) as caught:
        found.stand_in("square")(z=1)
    assert str(misfit(caught.value, "square", found)) == (
        "square() got an unexpected keyword argument 'z' (signature: square(a, b=1, *, k, l='x'))"
    )
