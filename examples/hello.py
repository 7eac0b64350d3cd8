"""Calls of a function, on all cores.

Prints:

    [0, 1, 4, 9]
"""

import flame_remote as flame


@flame.remote
def square(x: int) -> int:
    return x * x


print(flame.get([square.remote(x) for x in range(4)]))
