"""A Runner serves a function and an instance; futures go from one to the other.

Nobody fetches the products: each sum waits for its two where it runs.

Prints:

    sum of squares: 285
    calls that the tally saw: 10
"""

from flame_remote.runner import Runner


def product(a: int, b: int) -> int:
    return a * b


class Tally:
    def __init__(self) -> None:
        self.total = 0
        self.calls = 0

    def add(self, n: int) -> None:
        self.total += n
        self.calls += 1

    def read(self) -> tuple[int, int]:
        return self.total, self.calls


with Runner("squares") as runner:
    multiply = runner.service(product)
    tally = runner.service(Tally(), stateful=True)
    for n in range(10):
        tally.add(multiply(n, n))
    total, calls = tally.read().get()
    print("sum of squares:", total)
    print("calls that the tally saw:", calls)
