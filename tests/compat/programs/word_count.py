"""Map and reduce: counts words, with one ref for each part that a mapper makes."""

from collections import Counter

import ray

TEXT = """the cat sat on the mat
the dog sat on the log
a cat and a dog""".splitlines()
REDUCERS = 3


def place_of(word):
    return len(word) % REDUCERS


@ray.remote(num_returns=REDUCERS)
def count(lines):
    parts = [Counter() for _ in range(REDUCERS)]
    for line in lines:
        for word in line.split():
            parts[place_of(word)][word] += 1
    return parts


@ray.remote
def merge(*parts):
    return sum(parts, Counter())


ray.init(num_cpus=2)
mapped = [count.remote([line]) for line in TEXT]
reduced = [merge.remote(*(parts[place] for parts in mapped)) for place in range(REDUCERS)]
words = sum(ray.get(reduced), Counter())
print(words["the"], words["cat"], words["a"], sum(words.values()))
ray.shutdown()

# prints:
# 4 2 2 17
