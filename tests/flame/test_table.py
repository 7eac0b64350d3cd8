"""Objects: who owns them, who borrows them, and when they are gone."""

from __future__ import annotations

from typing import Any

from flame_remote._flame.batch import Form, Key, Ticket
from flame_remote._flame.stored import Stored
from flame_remote._flame.table import Table
from flame_remote._outcome import Kind


def mailbox(object_id: int) -> Key:
    return Key("grpc://cache", f"app/mail/{object_id:x}", 0)


def stored_value(table: Table, object_id: int, inside: tuple[int, ...] = ()) -> Stored:
    stored = table.add(object_id)
    table.fill(stored, Kind.STORED, Key("grpc://cache", f"app/objects/{object_id}", 9), inside)
    return stored


def deleted(table: Table) -> list[str]:
    return sorted(key.key for key in table.take_gone().keys)


def test_the_key_of_an_object_is_deleted_when_its_last_ref_dies() -> None:
    table = Table("us")
    stored_value(table, 1)
    table.count(-1)  # a second ref is born
    table.count(1)
    assert deleted(table) == []
    table.count(1)
    assert deleted(table) == ["app/objects/1"]
    assert table.by_id == {}


def test_what_is_inside_a_value_lives_as_long_as_the_value() -> None:
    table = Table("us")
    stored_value(table, 1)
    stored_value(table, 2, inside=(1,))
    table.release((1,))
    assert deleted(table) == []
    table.release((2,))
    assert deleted(table) == ["app/objects/1", "app/objects/2"]


def test_small_values_have_no_key() -> None:
    table = Table("us")
    table.fill(table.add(1), Kind.PICKLED, b"value", ())
    table.release((1,))
    assert not table.take_gone()


def test_a_failure_that_nobody_has_looked_at_is_reported_and_another_is_not() -> None:
    table = Table("us")
    for object_id, was_read in ((1, False), (2, True)):
        stored = table.add(object_id)
        table.fill(stored, Kind.FAILED, b"%d" % object_id, ())
        stored.was_read = was_read
    table.release((1, 2))
    assert table.take_gone().unread == [b"1"]


def test_a_borrower_forgets_what_it_no_longer_refers_to_and_deletes_nothing() -> None:
    ours, theirs = Table("us"), Table("them")
    stored_value(ours, 1)
    (borrowed,) = theirs.take_in(ours.tickets([1], mailbox))
    assert (borrowed.kind, borrowed.data.key) == (Kind.STORED, "app/objects/1")
    assert theirs.borrowed() == (1,)
    theirs.release((1,))
    assert theirs.borrowed() == ()
    assert not theirs.take_gone()


def test_what_another_process_says_it_holds_is_kept_until_it_says_otherwise() -> None:
    table = Table("us")
    stored_value(table, 1)
    table.pin("session worker", 1, [1])
    table.release((1,))
    assert deleted(table) == []
    table.pin("session worker", 2, [])
    assert deleted(table) == ["app/objects/1"]


def test_what_a_process_says_late_does_not_count() -> None:
    table = Table("us")
    stored_value(table, 1)
    table.pin("session worker", 2, [1])
    table.pin("session worker", 1, [])
    table.release((1,))
    assert 1 in table.by_id


def test_what_the_processes_of_a_session_held_is_let_go_with_the_session() -> None:
    table = Table("us")
    stored_value(table, 1)
    table.pin("session one", 1, [1])
    table.pin("session two", 1, [1])
    table.pin("session-2 one", 1, [])
    table.release((1,))
    table.unpin("session")
    assert deleted(table) == ["app/objects/1"]


def test_what_is_not_there_yet_gets_a_mailbox_where_its_owner_will_put_it() -> None:
    ours, theirs = Table("us"), Table("them")
    ours.add(1, "slow")
    (borrowed,) = theirs.take_in(ours.tickets([1], mailbox))
    assert ours.by_id[1].mailbox == borrowed.mailbox == mailbox(1)
    assert not borrowed.done
    ours.fill(ours.by_id[1], Kind.ATOM, 5, ())
    ours.release((1,))
    assert deleted(ours) == ["app/mail/1"]


def test_an_object_in_a_result_belongs_to_who_gets_the_result() -> None:
    worker, driver = Table("worker"), Table("driver")
    stored_value(worker, 1)
    tickets = worker.hand_over([1], "driver", mailbox)
    driver.take_in(tickets)
    worker.release((1,))
    assert not worker.take_gone()
    driver.release((1,))
    assert deleted(driver) == ["app/objects/1"]


def test_what_is_inside_an_object_is_handed_over_with_it() -> None:
    worker, driver = Table("worker"), Table("driver")
    stored_value(worker, 1)
    stored_value(worker, 2, inside=(1,))
    driver.take_in(worker.hand_over([2], "driver", mailbox))
    assert {stored.owner for stored in driver.by_id.values()} == {"driver"}
    assert driver.by_id[2].inside == (1,)
    driver.release((1,))  # what take_in has counted
    driver.release((2,))
    assert deleted(driver) == ["app/objects/1", "app/objects/2"]


def test_a_call_that_goes_on_is_handed_over_by_where_its_reply_will_be() -> None:
    worker, driver = Table("worker"), Table("driver")
    worker.add(1, "slow").place = ("session", "7", "worker")
    (ticket,) = worker.hand_over([1], "driver", mailbox)
    assert (ticket.form, ticket.data) == (Form.SENT, ("session", "7", "worker"))
    (adopted,) = driver.take_in([ticket])
    assert (adopted.owner, adopted.place) == ("driver", ("session", "7", "worker"))


def test_what_belongs_to_a_third_party_is_kept_on_loan_when_it_is_passed_on() -> None:
    actor = Table("actor")
    ticket = Ticket(1, "worker", "", Form.ATOM, 5)
    actor.take_in([ticket])
    (passed,) = actor.hand_over([1], "driver", mailbox)
    assert passed.owner == "worker"
    actor.release((1,))
    assert actor.borrowed() == (1,)  # so that the worker does not free it


def test_an_object_that_comes_back_to_its_owner_is_the_one_it_was() -> None:
    ours, theirs = Table("us"), Table("them")
    stored = stored_value(ours, 1)
    theirs.take_in(ours.tickets([1], mailbox))
    ours.take_in(theirs.hand_over([1], "us", mailbox))
    assert ours.by_id[1] is stored
    assert stored.count == 2


def test_what_was_promised_to_us_is_deleted_even_if_it_comes_after_we_have_let_go() -> None:
    table = Table("us")
    table.take_in([Ticket(1, "us", "f", Form.PROMISED, mailbox(1))])
    table.release((1,))
    gone: Any = table.take_gone()
    assert [stored.mailbox for stored in gone.late] == [mailbox(1)]
    assert gone.keys == []


def test_objects_describe_themselves() -> None:
    table = Table("us")
    table.add(1, "f")
    assert table.describe(1) == "f() #1 (pending)"
    table.fill(table.by_id[1], Kind.ATOM, 1, ())
    assert table.describe(1) == "f() #1 (succeeded)"
    assert table.describe(9) == "object #9"
