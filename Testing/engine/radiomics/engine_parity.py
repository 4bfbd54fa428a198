"""How far two feature tables of the same regions are apart: the native engine against pyradiomics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnsifusion.radiomics.table import FeatureTable

#: Agreed bounds: relative for textures and shape, in units of the region's standard deviation for first order.
TEXTURE_BOUND, FIRST_ORDER_BOUND = 1e-8, 1e-5

#: Relative errors are taken of values at least this large; below it they are absolute errors of this unit.
_FLOOR = 1e-6

_SQUARED = ("Energy", "TotalEnergy", "Variance")
_PURE = ("Entropy", "Uniformity", "Skewness", "Kurtosis")


@dataclass(frozen=True)
class Worst:
    """The feature of one class with the largest error, and where it is."""

    kind: str
    name: str
    row: int
    error: float
    bound: float
    native: float
    reference: float

    @property
    def passed(self) -> bool:
        return self.error <= self.bound


def errors(native: FeatureTable, reference: FeatureTable) -> np.ndarray:
    """Error of every value (n_rows, n_features): infinite where just one of the two is missing, 0 where both are.

    Textures, shape and Entropy and Uniformity: relative. First order in intensity units: in standard deviations of the
    region's intensities; Skewness and Kurtosis: absolute; Variance, Energy and TotalEnergy: relative.
    """
    out = np.empty_like(reference.values)
    for col, name in enumerate(reference.names):
        image, kind, feature = name.split("_", 2)
        a, b = native.column(name), reference.values[:, col]
        unit = np.maximum(np.abs(b), _FLOOR)
        if kind == "firstorder" and feature in ("Skewness", "Kurtosis"):
            unit = np.ones_like(b)
        elif kind == "firstorder" and feature not in _SQUARED + _PURE:
            unit = np.maximum(np.sqrt(reference.column(f"{image}_firstorder_Variance")), _FLOOR)
        one_missing = np.isnan(a) != np.isnan(b)
        out[:, col] = np.where(one_missing, np.inf, np.nan_to_num(np.abs(a - b) / unit))
    return out


def worst_per_class(native: FeatureTable, reference: FeatureTable) -> list[Worst]:
    """The worst feature of every class present, in the order of the columns."""
    error = errors(native, reference)
    kinds = [name.split("_", 2)[1] for name in reference.names]
    found = []
    for kind in dict.fromkeys(kinds):
        columns = np.flatnonzero([k == kind for k in kinds])
        row, at = np.unravel_index(np.argmax(error[:, columns]), (len(error), len(columns)))
        name, bound = reference.names[columns[at]], FIRST_ORDER_BOUND if kind == "firstorder" else TEXTURE_BOUND
        ours, theirs = float(native.column(name)[row]), float(reference.column(name)[row])
        found.append(Worst(kind, name, int(row), float(error[row, columns[at]]), bound, ours, theirs))
    return found
