"""A Runner with two fixed instances, a shared object, and results taken as they come.

Prints:

    found 4 of 4: ['ash', 'elm', 'fir', 'oak']
"""

from flame_remote.runner import Runner


class Searcher:
    """Looks words up; each instance keeps what it has seen."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def find(self, word: str, words: list[str]) -> str | None:
        self.seen.add(word)
        return word if word in words else None


with Runner("search") as runner:
    searchers = runner.service(Searcher, warmup=2, autoscale=False)
    words = runner.put_object(["fir", "oak", "ash", "elm"])
    futures = [searchers.find(word, words) for word in ("oak", "elm", "ash", "fir")]
    found = [future.get() for future in runner.select(futures)]
    print(f"found {len(found)} of {len(futures)}: {sorted(found)}")
