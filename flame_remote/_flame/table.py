"""Every object that an engine knows: its value or what it waits for, and who refers to it.

An object has one owner, the engine that frees it: the one that made it, until a task returns it.
All others borrow it: they forget it when their last ref dies, and tell the owner, reply by reply,
that they still have one. Pure: knows no clock, thread, socket or user object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from flame_remote import _ids
from flame_remote._execute.failure import encode_error
from flame_remote._ids import ObjectId
from flame_remote._outcome import Kind
from flame_remote.exceptions import ObjectFreedError

from .batch import Form, Key, Ticket
from .stored import Gone, Stored


class Table:
    """The objects of one engine, by id. Belongs to the engine's thread; others may look an
    object up, and begin one.
    """

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.by_id: dict[ObjectId, Stored] = {}
        self.gone = Gone()
        self._pins: dict[str, tuple[int, frozenset[ObjectId]]] = {}  # by process
        self._lent: set[ObjectId] = set()

    # --- counts ---

    def add(self, object_id: ObjectId, name: str = "") -> Stored:
        """Begin an object of our own, with one ref to it."""
        stored = self.by_id[object_id] = Stored(object_id, name, self.owner)
        return stored

    def hold(self, ids: Iterable[ObjectId]) -> None:
        """Count one more ref to each."""
        for object_id in ids:
            stored = self.by_id.get(object_id)
            if stored is not None:
                stored.count += 1

    def release(self, ids: Iterable[ObjectId]) -> None:
        """Count one ref less to each; what nobody refers to any more goes into `gone`."""
        left = list(ids)
        while left:
            stored = self.by_id.get(left.pop())
            if stored is None:
                continue
            stored.count -= 1
            if stored.count <= 0:
                del self.by_id[stored.id]
                self._bury(stored)
                left.extend(stored.inside)

    def _bury(self, stored: Stored) -> None:
        if stored.owner != self.owner:
            return
        if stored.mailbox is not None and not stored.done:
            if not stored.polled:  # else somebody looks for it already
                self.gone.late.append(stored)
            return
        self.gone.keys += stored.keys()
        if stored.outside is not None:
            self.gone.outside.append(stored.outside)
        if stored.lane is not None:
            self.gone.lanes.append(stored.lane)
        if stored.kind == Kind.FAILED and not stored.was_read:
            self.gone.unread.append(stored.data)

    def count(self, event: int) -> None:
        """Count a ref that was born, or that died; as Engine.ref_events."""
        if event < 0:
            self.hold((-event,))
        else:
            self.release((event,))

    def drop(self, object_id: ObjectId) -> None:
        """Put an error in the place of a value, now or when it comes; its bytes may be deleted."""
        stored = self.by_id.get(object_id)
        if stored is None or stored.lane is not None or stored.kind == Kind.FAILED:
            return
        if not stored.done:
            stored.watchers.append(lambda stored: self.drop(stored.id))
            return
        if stored.kind == Kind.STORED and stored.owner == self.owner:
            self.gone.keys.append(stored.data)
        inside, stored.inside, stored.was_read = stored.inside, (), True
        stored.data = encode_error(ObjectFreedError(object_id))
        stored.kind = int(Kind.FAILED)
        self.release(inside)

    def take_gone(self) -> Gone:
        """Return what has to be done about objects that are gone; the next time it is more."""
        gone, self.gone = self.gone, Gone()
        return gone

    # --- values ---

    def fill(self, stored: Stored, kind: int, data: Any, inside: tuple[ObjectId, ...]) -> None:
        """Give an object its value or error; the refs inside are held from now on."""
        self.hold(inside)
        stored.inside, stored.data = inside, data
        stored.kind = kind  # last: other threads look at it first

    # --- what passes between engines ---

    def tickets(self, ids: Iterable[ObjectId], mailbox: Callable[[ObjectId], Key]) -> list[Ticket]:
        """Return tickets for refs on their way to somebody who borrows them, and for those inside.

        An object that is not there yet gets a mailbox, `mailbox(id)`, where we shall put it.
        """
        tickets: dict[ObjectId, Ticket] = {}
        for stored in self._reachable(ids):
            form, data = stored.kind, stored.data
            if stored.lane is not None:
                form, data = Form.ACTOR, stored.lane.address
            elif not stored.done:
                if stored.place is not None and stored.owner != self.owner:
                    form, data = Form.SENT, stored.place
                else:
                    if stored.mailbox is None:
                        stored.mailbox = mailbox(stored.id)
                    data = stored.mailbox
            tickets[stored.id] = Ticket(
                stored.id, stored.owner, stored.name, int(form), data, stored.inside
            )
        return list(tickets.values())

    def hand_over(
        self, ids: Iterable[ObjectId], receiver: str, mailbox: Callable[[ObjectId], Key]
    ) -> list[Ticket]:
        """Return tickets for refs in a result; what is ours belongs to the receiver from now on.

        What belongs to somebody else than the receiver we keep borrowed for good, so that its owner
        does not free it behind the receiver's back.
        """
        ids = list(ids)
        given: dict[ObjectId, Ticket] = {}
        for stored in self._reachable(ids):
            if stored.owner == self.owner and stored.lane is None and not stored.done:
                place = stored.place
                if place is not None and stored.mailbox is None:
                    stored.owner = receiver
                    given[stored.id] = Ticket(
                        stored.id, receiver, stored.name, int(Form.SENT), place
                    )
        tickets = {ticket.id: ticket for ticket in self.tickets(ids, mailbox)}
        for object_id in tickets:
            stored = self.by_id[object_id]
            if stored.owner == self.owner:
                stored.owner = receiver
            elif stored.owner != receiver:
                self.lend(object_id)
            tickets[object_id] = tickets[object_id]._replace(owner=stored.owner)
        return list({**tickets, **given}.values())

    def lend(self, object_id: ObjectId) -> None:
        """Never let go of an object again that we have on loan and have passed on."""
        if object_id not in self._lent:
            self._lent.add(object_id)
            self.hold((object_id,))

    def take_in(self, tickets: Iterable[Ticket]) -> list[Stored]:
        """Take in what others have told about refs; return the objects.

        Each is counted once more, so that it lives until its ref is there: release() that.
        """
        taken: list[Stored] = []
        fresh: dict[ObjectId, Ticket] = {}
        for ticket in tickets:
            known = self.by_id.get(ticket.id)
            if known is not None:
                known.count += 1
                taken.append(known)
                if ticket.owner == self.owner != known.owner:
                    known.owner = self.owner  # on loan so far, and ours now
                continue
            stored = self.by_id[ticket.id] = Stored(ticket.id, ticket.name, ticket.owner)
            taken.append(stored)
            fresh[ticket.id] = ticket
            if ticket.form == Form.PROMISED:
                stored.mailbox = ticket.data
            elif ticket.form == Form.SENT:
                stored.place = ticket.data
            elif ticket.form == Form.ACTOR:
                stored.kind, stored.data = Kind.ATOM, None
            else:
                stored.kind, stored.data = ticket.form, ticket.data
                stored.was_read = True  # whoever passed it on had it before us
        for object_id, ticket in fresh.items():  # now that all are known
            stored = self.by_id[object_id]
            if stored.done:
                stored.inside = ticket.inside
                self.hold(stored.inside)
        return taken

    def borrowed(self) -> tuple[ObjectId, ...]:
        """Return the objects of others that we still refer to.

        One that we have handed over while its call goes on is held by that call, which is no ref.
        """
        return tuple(
            object_id
            for object_id, stored in list(self.by_id.items())  # at once: others begin objects
            if stored.owner != self.owner and stored.count > (stored.call is not None)
        )

    def pin(self, process: str, number: int, held: Iterable[ObjectId]) -> bool:
        """Keep what a process says it refers to; replaces what it has said before.

        Returns whether there is anything to keep.

        `number` counts what the process says: what is older than the latest is out of date.
        """
        before, old = self._pins.get(process, (-1, frozenset()))
        if number <= before:
            return bool(old)
        new = frozenset(object_id for object_id in held if object_id in self.by_id)
        self.hold(new - old)
        self._pins[process] = number, new
        self.release(old - new)
        return bool(new)

    def unpin(self, session: str) -> None:
        """Forget what the processes of a session referred to: they are no more."""
        for process in [name for name in self._pins if name.startswith(f"{session} ")]:
            self.release(self._pins.pop(process)[1])

    def _reachable(self, ids: Iterable[ObjectId]) -> Iterable[Stored]:
        """Yield objects and those inside them, each once."""
        seen: set[ObjectId] = set()
        left = list(ids)
        while left:
            object_id = left.pop()
            stored = self.by_id.get(object_id)
            if stored is not None and object_id not in seen:
                seen.add(object_id)
                yield stored
                left.extend(stored.inside)

    def describe(self, object_id: ObjectId) -> str:
        """Say what an object is and how far it is."""
        stored = self.by_id.get(object_id)
        if stored is None or not stored.name:
            return f"object {_ids.show(object_id)}"
        if stored.lane is not None:
            return f"{stored.name} {_ids.show(object_id)}"
        state = _STATES.get(stored.kind, "succeeded")
        return f"{stored.name}() {_ids.show(object_id)} ({state})"


_STATES: Final[Mapping[int, str]] = {Kind.PENDING: "pending", Kind.FAILED: "failed"}
