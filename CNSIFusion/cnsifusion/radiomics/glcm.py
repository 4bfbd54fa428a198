"""Grey level co-occurrence: how often two levels are neighbours (Haralick 1973; pyradiomics' definitions)."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from cnsifusion.radiomics.counts import Sparse, entropy, marginal, mean_over, ratio

NAMES = (
    "Autocorrelation", "ClusterProminence", "ClusterShade", "ClusterTendency", "Contrast", "Correlation",
    "DifferenceAverage", "DifferenceEntropy", "DifferenceVariance", "Id", "Idm", "Idmn", "Idn", "Imc1", "Imc2",
    "InverseVariance", "JointAverage", "JointEnergy", "JointEntropy", "MCC", "MaximumProbability", "SumAverage",
    "SumEntropy", "SumSquares",
)  # fmt: skip


def features(
    pairs: Sparse, levels: np.ndarray, flat: np.ndarray, instances: int, wanted: Collection[str] = NAMES
) -> dict[str, np.ndarray]:
    """The 24 features, (instances,) each: computed for every direction, then averaged over those that have pairs.
    MCC, whose eigenvalues take longer than all others together, only where it is ``wanted``.

    ``pairs``: unordered neighbour pairs (i <= j), one unit per direction and instance, directions outermost;
    ``levels`` (units,): highest level of the unit's instance; ``flat`` (units,): whether it has a single level. The
    matrices are symmetric. NaN where no direction has a pair.
    """
    units, unit = pairs.units, pairs.unit
    total = pairs.per_unit(pairs.count)
    share = pairs.count / total[unit]
    off_diagonal = pairs.i != pairs.j
    p = np.where(off_diagonal, share / 2, share)
    weight = np.where(off_diagonal, 2.0, 1.0)

    sums = marginal(unit, pairs.i + pairs.j, share, units)
    differences = marginal(unit, pairs.j - pairs.i, share, units)
    ends = np.concatenate([pairs.i, pairs.j])
    levels_p = marginal(np.tile(unit, 2), ends, np.tile(share / 2, 2), units)

    mean_sum = sums.per_unit(sums.count * sums.i)
    centred = sums.i - mean_sum[sums.unit]
    tendency, shade, prominence = (sums.per_unit(sums.count * centred**n) for n in (2, 3, 4))
    k, q, of = differences.i.astype(float), differences.count, differences.per_unit
    n_levels = levels[differences.unit]
    difference_average, contrast = of(q * k), of(q * k**2)
    variance = (tendency + contrast) / 4
    joint_entropy = pairs.per_unit(weight * entropy(p))
    level_entropy = levels_p.per_unit(entropy(levels_p.count))
    information = np.maximum(2 * level_entropy - joint_entropy, 0)
    far = k > 0
    squared_sum = sums.per_unit(sums.count * sums.i.astype(float) ** 2)

    by_unit = {
        "Autocorrelation": (squared_sum - contrast) / 4,
        "ClusterProminence": prominence,
        "ClusterShade": shade,
        "ClusterTendency": tendency,
        "Contrast": contrast,
        "Correlation": np.where(variance > 0, ratio((tendency - contrast) / 4, variance), 1.0),
        "DifferenceAverage": difference_average,
        "DifferenceEntropy": of(entropy(q)),
        "DifferenceVariance": of(q * (k - difference_average[differences.unit]) ** 2),
        "Id": of(q / (1 + k)),
        "Idm": of(q / (1 + k**2)),
        "Idmn": of(q / (1 + (k / n_levels) ** 2)),
        "Idn": of(q / (1 + k / n_levels)),
        "Imc1": np.where(level_entropy > 0, -ratio(information, level_entropy), 0.0),
        "Imc2": np.sqrt(-np.expm1(-2 * information)),
        "InverseVariance": np.bincount(differences.unit[far], q[far] / k[far] ** 2, units),
        "JointAverage": mean_sum / 2,
        "JointEnergy": pairs.per_unit(weight * p**2),
        "JointEntropy": joint_entropy,
        "MaximumProbability": _maximum(unit, p, units),
        "SumAverage": mean_sum,
        "SumEntropy": sums.per_unit(entropy(sums.count)),
        "SumSquares": variance,
    }
    if "MCC" in wanted:
        by_unit["MCC"] = _maximal_correlation(pairs, p, levels_p, flat)
    empty = total == 0
    return {n: mean_over(np.where(empty, np.nan, v), instances) for n, v in by_unit.items()}


def _maximum(unit: np.ndarray, p: np.ndarray, units: int) -> np.ndarray:
    out = np.zeros(units)
    np.maximum.at(out, unit, p)
    return out


def _maximal_correlation(pairs: Sparse, p: np.ndarray, levels_p: Sparse, flat: np.ndarray) -> np.ndarray:
    """Square root of the second largest eigenvalue of Q = D^-1 P D^-1 P, with D the marginal: the second largest
    absolute eigenvalue of the symmetric matrix D^-1/2 P D^-1/2. As in pyradiomics 1 in a
    flat region, and 0 where only one of several levels has neighbours in this direction.
    """
    units = pairs.units
    sizes = np.bincount(levels_p.unit, minlength=units)
    first = np.concatenate([[0], np.cumsum(sizes)])
    width = int(pairs.j.max(initial=0)) + 1
    rank_of = np.zeros(units * width, np.intp)
    rank_of[levels_p.unit * width + levels_p.i] = np.arange(len(levels_p.unit)) - first[levels_p.unit]
    scale = np.zeros(units * width)
    scale[levels_p.unit * width + levels_p.i] = 1 / np.sqrt(levels_p.count)
    a, b = pairs.unit * width + pairs.i, pairs.unit * width + pairs.j
    entry = p * scale[a] * scale[b]
    row, column = rank_of[a], rank_of[b]

    out = flat.astype(float)
    for size in np.unique(sizes[sizes > 1]):
        chosen = np.flatnonzero(sizes == size)
        place = np.full(units, -1)
        place[chosen] = np.arange(len(chosen))
        mine = place[pairs.unit] >= 0
        dense = np.zeros((len(chosen), size, size))
        dense[place[pairs.unit[mine]], column[mine], row[mine]] = entry[mine]
        out[chosen] = np.sort(np.abs(np.linalg.eigvalsh(dense, UPLO="L")), axis=1)[:, -2]
    return np.minimum(out, 1.0)
