"""Keys of objects: what is one, and what it covers."""

from __future__ import annotations

import pytest

from flame_remote.core.object_key import ObjectKey


@pytest.mark.parametrize(
    "path", ["app/session", "app/session/object", "app/*", "a/b/c.tar.gz", "a b/ö/x:1"]
)
def test_a_key_is_shown_as_it_was_written(path: str) -> None:
    assert str(ObjectKey.parse(path)) == path


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("", "must be '<application>/<session>/<object>'"),
        ("app", "must be '<application>/<session>/<object>'"),
        ("a/b/c/d", "must be '<application>/<session>/<object>'"),
        ("/b", "the application is empty"),
        ("a//c", "the session is empty"),
        ("a/b/", "the object is empty"),
        ("../b", r"the application '\.\.' has characters"),
        ("a/b..c", "the session 'b..c' has characters"),
        ("a/./c", r"the session '\.' has characters"),
        ("a/b/c\\d", "the object .* has characters"),
        ("a/b\x00", "the session .* has characters"),
        ("a/\ud800", "the session is no valid text"),
        ("*/b", r"'\*' may only stand for all sessions"),
        ("a/*/c", r"'\*' may only stand for all sessions"),
        ("a/b/*", r"'\*' may only stand for all sessions"),
        ("a/b/" + "x" * 249, "the object has 249 bytes, at most 248"),
        ("a" * 1_000_000 + "/b", "the application has 1000000 bytes"),
    ],
)
def test_what_is_no_key_is_refused_with_the_part_that_is_wrong(path: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as raised:
        ObjectKey.parse(path)
    assert len(str(raised.value)) < 500


def test_the_key_of_an_object_is_no_prefix_and_a_place_no_wildcard() -> None:
    with pytest.raises(ValueError, match="'a/b' is a prefix"):
        ObjectKey.parse_object("a/b")
    with pytest.raises(ValueError, match="names all sessions"):
        ObjectKey.parse_place("a/*")


def test_a_prefix_covers_what_lies_under_it_and_nothing_that_begins_alike() -> None:
    assert ObjectKey.parse("a/b").covers("a/b/c")
    assert not ObjectKey.parse("a/b").covers("a/bb/c")
    assert ObjectKey.parse("a/*").covers("a/x/c")
    assert not ObjectKey.parse("a/*").covers("aa/x/c")
    assert ObjectKey.parse("a/b/c").covers("a/b/c")
    assert not ObjectKey.parse("a/b/c").covers("a/b/cc")
