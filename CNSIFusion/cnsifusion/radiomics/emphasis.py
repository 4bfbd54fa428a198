"""The features that run-length, size-zone and dependence matrices share: levels i against lengths j.

Sources: Galloway 1975 and Chu 1990 (runs), Thibault 2009 (zones), Sun & Wee 1983 (dependence); pyradiomics' formulas.
"""

from __future__ import annotations

import numpy as np

from cnsifusion.radiomics.counts import Sparse, entropy, marginal, ratio

#: pyradiomics' name of each feature, by matrix; a missing key is a feature the class does not have.
_SHARED = ("GrayLevelNonUniformity", "GrayLevelNonUniformityNormalized", "GrayLevelVariance")
NAMES = {
    "glrlm": {
        **{name: name for name in _SHARED},
        "HighGray": "HighGrayLevelRunEmphasis",
        "Long": "LongRunEmphasis",
        "LongHigh": "LongRunHighGrayLevelEmphasis",
        "LongLow": "LongRunLowGrayLevelEmphasis",
        "LowGray": "LowGrayLevelRunEmphasis",
        "Entropy": "RunEntropy",
        "NonUniformity": "RunLengthNonUniformity",
        "NonUniformityNormalized": "RunLengthNonUniformityNormalized",
        "Percentage": "RunPercentage",
        "Variance": "RunVariance",
        "Short": "ShortRunEmphasis",
        "ShortHigh": "ShortRunHighGrayLevelEmphasis",
        "ShortLow": "ShortRunLowGrayLevelEmphasis",
    },
    "glszm": {
        **{name: name for name in _SHARED},
        "HighGray": "HighGrayLevelZoneEmphasis",
        "Long": "LargeAreaEmphasis",
        "LongHigh": "LargeAreaHighGrayLevelEmphasis",
        "LongLow": "LargeAreaLowGrayLevelEmphasis",
        "LowGray": "LowGrayLevelZoneEmphasis",
        "NonUniformity": "SizeZoneNonUniformity",
        "NonUniformityNormalized": "SizeZoneNonUniformityNormalized",
        "Short": "SmallAreaEmphasis",
        "ShortHigh": "SmallAreaHighGrayLevelEmphasis",
        "ShortLow": "SmallAreaLowGrayLevelEmphasis",
        "Entropy": "ZoneEntropy",
        "Percentage": "ZonePercentage",
        "Variance": "ZoneVariance",
    },
    "gldm": {
        "Entropy": "DependenceEntropy",
        "NonUniformity": "DependenceNonUniformity",
        "NonUniformityNormalized": "DependenceNonUniformityNormalized",
        "Variance": "DependenceVariance",
        "GrayLevelNonUniformity": "GrayLevelNonUniformity",
        "GrayLevelVariance": "GrayLevelVariance",
        "HighGray": "HighGrayLevelEmphasis",
        "Long": "LargeDependenceEmphasis",
        "LongHigh": "LargeDependenceHighGrayLevelEmphasis",
        "LongLow": "LargeDependenceLowGrayLevelEmphasis",
        "LowGray": "LowGrayLevelEmphasis",
        "Short": "SmallDependenceEmphasis",
        "ShortHigh": "SmallDependenceHighGrayLevelEmphasis",
        "ShortLow": "SmallDependenceLowGrayLevelEmphasis",
    },
}


def features(matrix: Sparse, kind: str) -> dict[str, np.ndarray]:
    """Features of one kind ("glrlm", "glszm" or "gldm"), (units,) each; NaN for an empty matrix.

    Entry (i, j) of a unit counts the runs, zones or voxels of level i and length, size or dependence j.
    """
    units, unit, count = matrix.units, matrix.unit, matrix.count
    i2, j2 = matrix.i.astype(float) ** 2, matrix.j.astype(float) ** 2
    total, share = matrix.per_unit(count), matrix.per_unit
    by_level = marginal(unit, matrix.i, count, units)
    by_length = marginal(unit, matrix.j, count, units)

    def variance(table: Sparse) -> np.ndarray:
        p = table.count / total[table.unit]
        centre = table.per_unit(p * table.i)
        return np.where(total > 0, table.per_unit(p * (table.i - centre[table.unit]) ** 2), np.nan)

    squares_level, squares_length = (t.per_unit(t.count**2) for t in (by_level, by_length))
    values = {
        "GrayLevelNonUniformity": ratio(squares_level, total),
        "GrayLevelNonUniformityNormalized": ratio(squares_level, total**2),
        "GrayLevelVariance": variance(by_level),
        "NonUniformity": ratio(squares_length, total),
        "NonUniformityNormalized": ratio(squares_length, total**2),
        "Variance": variance(by_length),
        "Percentage": ratio(total, share(count * matrix.j)),
        "Entropy": np.where(total > 0, share(entropy(count / total[unit])), np.nan),
        "LowGray": ratio(share(count / i2), total),
        "HighGray": ratio(share(count * i2), total),
        "Short": ratio(share(count / j2), total),
        "ShortLow": ratio(share(count / (i2 * j2)), total),
        "ShortHigh": ratio(share(count * i2 / j2), total),
        "Long": ratio(share(count * j2), total),
        "LongLow": ratio(share(count * j2 / i2), total),
        "LongHigh": ratio(share(count * i2 * j2), total),
    }
    return {name: values[key] for key, name in NAMES[kind].items()}
