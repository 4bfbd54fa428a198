"""How far two readers agree: overlap and volume per region of one head, and ICC over many heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from cnsifusion.errors import BadInput
from cnsifusion.roi.names import SEGMENTS
from cnsifusion.roi.regions import RegionSet


@dataclass(frozen=True)
class Icc:
    """An intraclass correlation with its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """One region drawn twice. ``dice`` 0-1; ``difference_percent`` is second minus first, of their mean.

    ``areas`` is the ICC of its areas, slice by slice (those where at least one reader drew); None where there is none
    (one slice alone, or slices that do not differ). Slices of one head are no independent subjects: it describes only
    this one.
    """

    name: str
    dice: float
    volume_first_ml: float
    volume_second_ml: float
    difference_percent: float
    areas: Icc | None


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) of two bool arrays (Dice, Ecology 1945;26:297); 1 where both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else 1.0


def compare(first: RegionSet, second: RegionSet) -> list[Agreement]:
    """Agreement of every region that at least one of the two has drawn, in the protocol's order.

    Raises BadInput when the two lie on different grids.
    """
    if not first.grid.is_close(second.grid):
        raise BadInput("The two segmentations lie on different grids; read both together with the same image.")
    rows = []
    empty = np.zeros(first.grid.shape, bool)
    for name in SEGMENTS:
        a, b = first.masks.get(name, empty), second.masks.get(name, empty)
        if a.any() or b.any():
            ml = first.grid.voxel_volume / 1000
            one, two = float(a.sum()) * ml, float(b.sum()) * ml
            percent = 200 * (two - one) / (two + one)
            rows.append(Agreement(name, dice(a, b), one, two, percent, _icc_of_areas(a, b)))
    return rows


def _icc_of_areas(first: np.ndarray, second: np.ndarray) -> Icc | None:
    areas = np.stack([mask.sum(axis=(1, 2)) for mask in (first, second)], axis=1)
    try:
        return icc_2_1(areas[areas.any(axis=1)])
    except BadInput:
        return None


def icc_2_1(table: np.ndarray) -> Icc:
    """ICC(2,1): absolute agreement of single readers, readers a random sample.

    ``table`` is (subjects, readers), at least 2 x 2, without gaps. Shrout and Fleiss, Psychol Bull 1979;86:420; the
    interval is that of McGraw and Wong, Psychol Methods 1996;1:30 (case 2A, absolute agreement). Raises BadInput for
    a table that is too small, has gaps, or whose subjects have all the same mean.
    """
    values = np.asarray(table, float)
    if values.ndim != 2 or min(values.shape) < 2 or not np.isfinite(values).all():
        raise BadInput("Reader agreement needs at least two heads measured by at least two readers, without gaps.")
    n, k = values.shape
    mean = values.mean()
    rows = k * float(((values.mean(axis=1) - mean) ** 2).sum()) / (n - 1)
    columns = n * float(((values.mean(axis=0) - mean) ** 2).sum()) / (k - 1)
    rest = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0, keepdims=True) + mean
    error = float((rest**2).sum()) / ((n - 1) * (k - 1))
    if np.ptp(values.mean(axis=1)) <= 1e-12 * max(abs(mean), 1e-300):
        raise BadInput("The heads have all the same mean: nothing varies between them to measure agreement by.")
    icc = (rows - error) / (rows + (k - 1) * error + k * (columns - error) / n)
    if icc >= 1 - 1e-12:
        return Icc(1.0, 1.0, 1.0)
    a, b = k * icc / (n * (1 - icc)), 1 + k * icc * (n - 1) / (n * (1 - icc))
    freedom = (a * columns + b * error) ** 2 / (
        (a * columns) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
    )
    upper = stats.f.ppf(0.975, n - 1, freedom)
    lower = stats.f.ppf(0.975, freedom, n - 1)
    spread = k * columns + (k * n - k - n) * error
    low = n * (rows - upper * error) / (upper * spread + n * rows)
    high = n * (lower * rows - error) / (spread + n * lower * rows)
    return Icc(float(icc), float(low), float(high))
