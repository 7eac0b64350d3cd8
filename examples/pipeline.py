"""Results that feed other tasks: a ref is passed on, and its value arrives in its place.

Prints:

    600 words, the longest is 'transmogrification'
"""

import flame_remote as flame

TEXTS = ["to be or not to be", "a transmogrification of sorts", "the end"] * 50


@flame.remote
def words(text: str) -> list[str]:
    return text.split()


@flame.remote
def join(left: list[str], right: list[str]) -> list[str]:
    return left + right


@flame.remote
def describe(found: list[str]) -> str:
    return f"{len(found):,} words, the longest is {max(found, key=len)!r}"


level = [words.remote(text) for text in TEXTS]
while len(level) > 1:
    odd = level[len(level) // 2 * 2 :]  # the last one, where their number is odd
    level = [join.remote(a, b) for a, b in zip(level[::2], level[1::2], strict=False)] + odd
print(flame.get(describe.remote(level[0])))
