"""An actor: one instance in one worker, whose methods are called in order.

`@flame.remote` above an ordinary class does the same; this form is for type checkers.

Prints:

    [11, 13, 16]
"""

import flame_remote as flame


class Counter(flame.Actor):
    def __init__(self, start: int = 0) -> None:
        self.value = start

    @flame.method
    def add(self, n: int) -> int:
        self.value += n
        return self.value


counter = Counter.remote(10)
print(flame.get([counter.add.remote(n) for n in (1, 2, 3)]))
