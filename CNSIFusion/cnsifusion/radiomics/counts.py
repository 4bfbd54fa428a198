"""Sparse texture matrices of many instances at once, and the sums features are made of.

An *instance* is one region in one image; a *unit* is one matrix (an instance, or an instance and a direction).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: pyradiomics' epsilon inside logarithms.
EPS = np.spacing(1)


@dataclass(frozen=True)
class Sparse:
    """The non-zero entries of ``units`` matrices: entry n is ``count`` at (i, j) of matrix ``unit``; arrays (E,)."""

    unit: np.ndarray
    i: np.ndarray
    j: np.ndarray
    count: np.ndarray
    units: int

    def per_unit(self, weight: np.ndarray) -> np.ndarray:
        """Sum over each matrix's entries of ``weight`` (E,): (units,)."""
        return np.bincount(self.unit, weight, self.units)


def count_keys(key: np.ndarray, base: np.ndarray, width: int) -> Sparse:
    """Count equal keys: ``key`` = base[unit] + i * width + j, of any shape, with 0 <= j < ``width`` and i below
    (base[unit + 1] - base[unit]) / width; ``base`` (units + 1,). Entries with i = 0 are left out.
    """
    if base[-1] <= 4 * key.size + 65536:
        table = np.bincount(key.ravel(), minlength=1)
        found = np.flatnonzero(table)
        count = table[found]
    else:
        found, count = np.unique(key, return_counts=True)
    unit = np.searchsorted(base, found, side="right") - 1
    i, j = np.divmod(found - base[unit], width)
    kept = i > 0
    return Sparse(unit[kept], i[kept], j[kept], count[kept].astype(float), len(base) - 1)


def bases(rows: np.ndarray, width: int) -> np.ndarray:
    """``base`` of ``count_keys`` for units with levels up to ``rows`` (units,)."""
    return np.concatenate([[0], np.cumsum((rows + 1) * width)])


def stack(parts: Sequence[Sparse]) -> Sparse:
    """The units of ``parts`` one after the other in one."""
    first = np.cumsum([0, *(part.units for part in parts)])
    return Sparse(
        np.concatenate([part.unit + at for part, at in zip(parts, first)]),
        np.concatenate([part.i for part in parts]),
        np.concatenate([part.j for part in parts]),
        np.concatenate([part.count for part in parts]),
        int(first[-1]),
    )


def marginal(unit: np.ndarray, value: np.ndarray, weight: np.ndarray, units: int) -> Sparse:
    """Sum ``weight`` over equal (unit, value): a matrix with one column (j is 1)."""
    width = int(value.max(initial=0)) + 1
    table = np.bincount(unit * width + value, weight, units * width)
    found = np.flatnonzero(table)
    return Sparse(found // width, found % width, np.ones_like(found), table[found], units)


def entropy(p: np.ndarray) -> np.ndarray:
    """The terms -p log2(p + eps) whose sum is the entropy in bits."""
    return -p * np.log2(p + EPS)


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, NaN where b is 0 (an empty matrix)."""
    return np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=b != 0)


def mean_over(values: np.ndarray, instances: int) -> np.ndarray:
    """Mean over directions of ``values`` (directions * instances,), leaving out NaN; NaN where nothing is left."""
    by_direction = values.reshape(-1, instances)
    good = ~np.isnan(by_direction)
    return ratio(np.where(good, by_direction, 0).sum(axis=0), good.sum(axis=0))
