"""Results in the order in which they become ready.

Prints:

    1,229 primes below 10,000
"""

import flame_remote as flame


@flame.remote
def primes_between(low: int, high: int) -> list[int]:
    return [n for n in range(max(low, 2), high) if all(n % d for d in range(2, int(n**0.5) + 1))]


waiting = [primes_between.remote(low, low + 500) for low in range(0, 10_000, 500)]
primes: list[int] = []
while waiting:
    ready, waiting = flame.wait(waiting)
    primes += flame.get(ready[0])
print(f"{len(primes):,} primes below 10,000")
