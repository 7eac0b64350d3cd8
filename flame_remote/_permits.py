"""The actor behind `Lock` and `Semaphore`: permits, who holds them, and who waits for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flame_remote._refs import ObjectRef

if TYPE_CHECKING:
    import asyncio

# A task and the process in which it runs: an attempt of it, mostly. 0 stands for no task.
Owner = tuple[int, int]


class PermitsActor:
    """Hands out permits, first come first served. Calls are told apart by tokens.

    Its methods are coroutines, so that any number of calls can wait; they run on one event loop.
    """

    def __init__(self, permits: int) -> None:
        import asyncio

        self._asyncio = asyncio
        self._permits = permits
        self._free = permits
        self._holders: dict[int, Owner] = {}  # by token, the oldest first
        self._waiting: dict[int, tuple[Owner, asyncio.Future[None]]] = {}
        self._watched: dict[int, ObjectRef[object]] = {}  # by task; there when it has ended

    async def acquire(
        self, token: int, owner: Owner, timeout: float | None, result: list[ObjectRef[object]]
    ) -> bool:
        """Take a permit; False if there is none in time.

        `result` holds the ref of what the owner's task will return, unless that is known here.
        """
        if result:
            self._watch(owner[0], result[0])
        self._drop_earlier_attempt(owner)
        if self._free and not self._waiting:
            self._free -= 1
            self._holders[token] = owner
            return True
        if timeout == 0:
            return False
        future = self._asyncio.get_running_loop().create_future()
        self._waiting[token] = owner, future
        try:
            await self._asyncio.wait_for(future, timeout)
        except self._asyncio.TimeoutError:
            self._waiting.pop(token, None)
        except BaseException:  # cancelled: nobody would know of the permit
            await self.forget(token)
            raise
        return token in self._holders

    async def release(self, owner: Owner) -> bool:
        """Take back a permit, that of the owner if it has one; False if all are here."""
        own = (token for token, holder in self._holders.items() if holder == owner)
        token = next(own, None) or next(iter(self._holders), None)
        if token is None:
            return False
        await self.forget(token)
        return True

    async def forget(self, token: int) -> None:
        """Take back the permit of a call, or let it wait no more."""
        self._waiting.pop(token, None)
        if self._holders.pop(token, None) is not None:
            self._free += 1
        self._hand_out()

    async def free(self) -> int:
        """Return how many permits could be had at once."""
        return self._free

    async def bound(self) -> int:
        """Return how many permits there are."""
        return self._permits

    def _hand_out(self) -> None:
        while self._free and self._waiting:
            token = next(iter(self._waiting))
            owner, future = self._waiting.pop(token)
            if not future.done():  # else its time is over
                self._free -= 1
                self._holders[token] = owner
                future.set_result(None)

    # --- the ends of owners -------------------------------------------------------------

    def _watch(self, task: int, result: ObjectRef[object]) -> None:
        """Have the permits of a task come back when it has ended, however it does."""
        if task in self._watched:
            return
        self._watched[task] = result
        loop = self._asyncio.get_running_loop()

        def ended(_: object) -> None:
            try:
                loop.call_soon_threadsafe(self._task_ended, task)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

        result.add_done_callback(ended)

    def _task_ended(self, task: int) -> None:
        del self._watched[task]
        self._drop([token for token, owner in self._owners() if owner[0] == task])

    def _drop_earlier_attempt(self, owner: Owner) -> None:
        """The process of an attempt is gone if the next one runs in another."""
        task, pid = owner
        if task:
            self._drop([t for t, other in self._owners() if other[0] == task and other[1] != pid])

    def _owners(self) -> list[tuple[int, Owner]]:
        waiting = [(token, owner) for token, (owner, _) in self._waiting.items()]
        return [*self._holders.items(), *waiting]

    def _drop(self, tokens: list[int]) -> None:
        for token in tokens:
            waiting = self._waiting.pop(token, None)
            if waiting is not None and not waiting[1].done():
                waiting[1].set_result(None)  # `acquire` sees that it holds nothing
            if self._holders.pop(token, None) is not None:
                self._free += 1
        self._hand_out()
