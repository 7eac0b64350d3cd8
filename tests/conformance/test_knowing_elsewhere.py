"""What an engine cannot tell it says it cannot; what any engine can tell it does."""

from __future__ import annotations

from typing import Any

import pytest

import flame_remote as flame

pytestmark = pytest.mark.usefixtures("engine")


@flame.remote
def identity(x: Any) -> Any:
    return x


def test_explain_names_the_call_on_every_engine() -> None:
    ref = identity.remote(1)
    assert "identity()" in flame.explain(ref)
    flame.get(ref)
    assert "it is there" in flame.explain(ref) or "its value is there" in flame.explain(ref)


def test_the_main_program_has_a_context_on_every_engine() -> None:
    assert flame.context().task_id == ""
    assert not flame.context().is_cancelled


def test_a_task_has_an_id_on_every_engine() -> None:
    @flame.remote
    def my_id() -> str:
        return flame.context().task_id

    assert flame.get(my_id.remote()).startswith("#")


def test_what_needs_an_engine_of_this_machine_works_or_says_so(engine: str) -> None:
    if engine in ("inline", "embedded"):
        with flame.scope():
            pass
        assert flame.state.tasks() == []
        return
    with pytest.raises(flame.EngineError, match="scopes need an engine on this machine"):
        flame.scope().__enter__()
    with pytest.raises(flame.EngineError, match=r"flame\.state needs an engine on this machine"):
        flame.state.tasks()
