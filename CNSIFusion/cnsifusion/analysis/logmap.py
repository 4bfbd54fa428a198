"""Where the chosen LoG features come from: the log-odds that go when one cell of the region is left out.

For an instance with mask M and cell c of M: E(c) = L(M) - L(M without c) - e |c|, with L the log-odds (mean over heads)
when the model's LoG features are computed from the given pixels and everything else (the network's part, features of
the unfiltered image) stays. The LoG images do not change; only which of their pixels are counted. This is the jackknife
(Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982) over cells instead of single pixels, and it holds
for textures as for first-order features. Some features grow or shrink with any loss of pixels; so the mean over all
pixels, e = sum of (L(M) - L(M without c)) / sum of |c|, is taken off: a cell is compared with the region's average.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnsifusion.analysis.heatmap import CellMap, cell_map, cut_cells
from cnsifusion.bundles import Bundle, Prediction
from cnsifusion.radiomics import FeatureTable, RadiomicsSettings, RegionMask, extract
from cnsifusion.roi.case import Case
from cnsifusion.roi.instances import Instance

LOG_CAPTION = "where the chosen LoG features come from, not where infection is"

#: Side of a cell (mm) for small regions. Pixels counted over all cells of all instances stay below a limit, so
#: that large regions take larger cells rather than more time.
_CELL_MM, _PIXEL_LIMIT = 2.0, 60_000


def log_maps(
    case: Case, instances: Sequence[Instance], model: Bundle, prediction: Prediction, table: FeatureTable
) -> list[CellMap]:
    """One map per instance in log-odds per cell (see the module); empty where the model uses no LoG feature.

    ``prediction`` and ``table`` are the model's own of these ``instances``, row by row.
    """
    chosen = [name for name in model.settings.features.names if name.startswith("log-sigma")]
    if not chosen:
        return []
    side = _side(instances, case.prepared.settings.pixel_mm)
    cells = [cut_cells(instance.mask, side) for instance in instances]
    owner = np.repeat(np.arange(len(instances)), [int(c.max()) for c in cells])
    left = [
        RegionMask(instance.key, instance.mask & (numbers != n), instance.slice_index)
        for instance, numbers in zip(instances, cells)
        for n in range(1, int(numbers.max()) + 1)
    ]
    settings = RadiomicsSettings.from_dict(model.settings.radiomics)
    found = extract(case.prepared.resampled, left, settings, case.volume.acquisition.acquired_pixel_mm, chosen)
    whole = table.columns(chosen)[owner]
    values = table.values[owner].copy()
    at = [table.names.index(name) for name in chosen]
    values[:, at] = np.where(np.isnan(found.values), whole, found.values)
    lost = prediction.logit.mean(axis=1)[owner] - model.log_odds(prediction.pooled[owner], values, table.names)
    return [
        cell_map(instance, numbers, side, lost[owner == n])
        for n, (instance, numbers) in enumerate(zip(instances, cells))
    ]


def _side(instances: Sequence[Instance], pixel_mm: float) -> int:
    """Side of a cell in pixels: _CELL_MM, or more where that would count too many pixels."""
    side = max(1, round(_CELL_MM / pixel_mm))
    while sum(i.pixels**2 for i in instances) / side**2 > _PIXEL_LIMIT:
        side += 1
    return side
