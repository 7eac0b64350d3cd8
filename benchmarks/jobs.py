"""Real jobs, as functions of one item: Monte Carlo pi, word count, grid search."""

from __future__ import annotations

import random
import re
import sysconfig
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WORD: Final = re.compile(r"[A-Za-z_]\w*")
FOLDS: Final = 5


def points_inside(seed_and_count: tuple[int, int]) -> int:
    """Return how many of `count` random points of the unit square lie inside the quarter circle."""
    seed, count = seed_and_count
    draw = random.Random(seed).random
    inside = 0
    for _ in range(count):
        x, y = draw(), draw()
        inside += x * x + y * y <= 1.0
    return inside


def count_words(path: str) -> Counter[str]:
    return Counter(WORD.findall(Path(path).read_text(encoding="utf-8", errors="replace")))


def standard_library_sources() -> list[str]:
    """Return the paths of the standard library's own source files, in order; about 1,700."""
    root = Path(sysconfig.get_path("stdlib"))
    return sorted(
        str(path)
        for path in root.rglob("*.py")
        if "site-packages" not in path.relative_to(root).parts
    )


def ridge_error(
    features: NDArray[np.float64], target: NDArray[np.float64], candidate: tuple[float, int]
) -> float:
    """Return the mean squared error on one fold of a ridge regression fitted to the others.

    Args:
        features: rows by columns.
        target: rows.
        candidate: (strength of the penalty, number of the fold that is held out).
    """
    import numpy as np

    penalty, fold = candidate
    held_out = np.arange(len(target)) % FOLDS == fold
    x, y = features[~held_out], target[~held_out]
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
    return float(np.mean((features[held_out] @ weights - target[held_out]) ** 2))
