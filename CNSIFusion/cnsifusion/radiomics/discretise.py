"""From intensities to grey levels, with pyradiomics' bins."""

from __future__ import annotations

import numpy as np

from cnsifusion.errors import BadInput

#: More grey levels than this in one region mean that the width does not fit the image's units.
MAX_LEVELS = 4096


def bin_edges(values: np.ndarray, width: float, count: int | None) -> np.ndarray:
    """Lower edges of the grey levels of one region's ``values`` (n,).

    Fixed width: edges are multiples of ``width``, the first at or below the minimum. Fixed ``count``: equal bins from
    minimum to maximum. The precision is the one numpy 2 gives pyradiomics: the remainder in the image's own type.

    Raises BadInput for a width that gives more than ``MAX_LEVELS`` levels.
    """
    if count is not None:
        edges = np.histogram_bin_edges(values, count)
        edges[-1] += 1  # the maximum belongs to the last bin
        return edges
    low, high = values.min(), values.max()
    if (float(high) - float(low)) / width > MAX_LEVELS:
        raise BadInput(
            f"A bin width of {width:g} gives more than {MAX_LEVELS} grey levels in a region; "
            "normalise the image first or set a larger bin_width."
        )
    return np.arange(low - low % low.dtype.type(width), high + low.dtype.type(2 * width), width)


def grey_levels(values: np.ndarray, width: float, count: int | None) -> np.ndarray:
    """Grey level (n,) of each of one region's ``values`` (n,): 1 holds the minimum."""
    x = values if values.dtype in (np.float32, np.float64) else values.astype(float)
    return np.searchsorted(bin_edges(x, width, count), x, side="right")
