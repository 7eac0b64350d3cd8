"""Why an object is not there yet, in words."""

from __future__ import annotations

from flame_remote._flame.explaining import explain, progress

from .test_desk import CLASS, FUNCTION, METHOD, Office


def test_each_state_of_a_call_is_told() -> None:
    office = Office()
    office.submit(1)
    office.submit(2, FUNCTION, 1)
    assert explain(office.table, 1).startswith("f() #1 (pending): it waits for room in session")
    assert explain(office.table, 2) == "f() #2 (pending): it waits for f() #1 (pending)"
    office.shipments()
    text = explain(office.table, 1)
    assert "it is in task 0.0-0 of session functions; see flmctl view -s functions" in text
    office.functions.trouble = "no disk"
    assert "no worker could be started so far: no disk" in explain(office.table, 1)
    assert progress(office.table, office.table.by_id[1]).endswith("so far: no disk")
    office.desk.cancel(1)
    assert explain(office.table, 1).endswith("it is there")
    assert explain(office.table, 99) == "object #99: it is there"


def test_a_call_behind_others_of_its_actor_says_so() -> None:
    office = Office()
    office.submit(1)
    office.submit(2, CLASS, 1)
    office.submit(3, METHOD, actor=2)
    assert "C #2: it waits for f() #1" in explain(office.table, 2)
    assert "it waits for room in session actor" in explain(office.table, 3)
