"""What an engine cannot do about the life of actors it refuses."""

from __future__ import annotations

from typing import Any

import pytest

import flame_remote as flame

pytestmark = pytest.mark.usefixtures("engine")


@flame.remote
class Echo:
    def say(self, value: Any) -> Any:
        return value

    def leave(self) -> None:
        flame.exit_actor()

    def __flame_checkpoint__(self) -> None: ...

    def __flame_restore__(self, state: None) -> None: ...


@pytest.mark.parametrize("options", [{"max_restarts": 1}, {"max_task_retries": -1},
                                     {"max_restarts": 1, "checkpoint_every": 2}])  # fmt: skip
def test_restarts_are_accepted_where_there_can_be_any(engine: str, options: dict[str, Any]) -> None:
    if engine in ("inline", "embedded"):
        assert flame.get(Echo.options(**options).remote().say.remote(1)) == 1
        return
    with pytest.raises(flame.InvalidOptionError, match="actors on a cluster are not started again"):
        Echo.options(**options).remote()


def test_names_are_accepted_where_they_are_kept(engine: str) -> None:
    named = Echo.options(name="echo")
    if engine in ("inline", "embedded"):
        echo = named.remote()
        assert flame.get_actor("echo") == echo
        return
    with pytest.raises(flame.InvalidOptionError, match="a cluster keeps no names of actors"):
        named.remote()
    with pytest.raises(flame.InvalidOptionError, match="a cluster keeps no names of actors"):
        flame.get_actor("echo")


def test_only_a_process_can_die_and_be_restarted(engine: str) -> None:
    echo = Echo.remote()
    if engine == "embedded":
        again = Echo.options(max_restarts=1).remote()
        flame.kill(again, no_restart=False)
        assert flame.get(again.say.remote(2)) == 2
    else:
        with pytest.raises(flame.InvalidOptionError, match="no_restart=False"):
            flame.kill(echo, no_restart=False)
    assert flame.get(echo.say.remote(1)) == 1


def test_an_actor_can_end_itself_where_that_can_be_told(engine: str) -> None:
    echo = Echo.remote()
    if engine in ("inline", "embedded"):
        assert flame.get(echo.leave.remote()) is None
        return
    with pytest.raises(flame.EngineError, match="exit_actor"):
        flame.get(echo.leave.remote())
