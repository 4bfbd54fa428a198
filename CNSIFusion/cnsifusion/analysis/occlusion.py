"""Where the network part looked: the log-odds that go when one cell of the region is painted over.

For an instance and a cell c of its mask: E(c) = L - L(c painted over) - e |c|, with L the log-odds (mean over heads),
the features held as they are, and the cell's pixels as bright as the median of the mask's pixels around it; e is the
mean loss a pixel, so that a cell is compared with the region's average (see ``cell_map``). That is occlusion (Zeiler
and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014) through the whole graph, so it needs no
gradient and nothing of the graph but its log-odds. Nothing outside the mask is painted over.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_dilation

from cnsifusion.analysis.heatmap import CellMap, cell_map, cut_cells
from cnsifusion.bundles import Bundle, Prediction
from cnsifusion.radiomics import FeatureTable
from cnsifusion.roi.case import Case
from cnsifusion.roi.instances import Instance
from cnsifusion.roi.patches import PatchPlace, cut_mask

CAPTION = "where the network part looked, not where infection is"

#: Side of a cell (mm) where that takes at most so many runs of the network, else larger; a cell with less than this
#: share of its square inside the mask goes with its neighbour.
_CELL_MM, _RUN_LIMIT, _LEAST = 4.0, 96, 0.25
#: One run of this backbone takes 0.07 s of one core, ten times the other's: an analysis is to end within 4 s.
_RUNS_OF = {"densenet201": 48}


def network_maps(
    case: Case,
    instances: Sequence[Instance],
    patches: np.ndarray,
    places: Sequence[PatchPlace],
    model: Bundle,
    prediction: Prediction,
    table: FeatureTable,
) -> list[CellMap]:
    """One map per instance in log-odds per cell (see the module); empty for a model of radiomics alone.

    ``patches`` (n, c, size, size), cut at ``places``, ``prediction`` and ``table`` are the model's own of these
    ``instances``, row by row.
    """
    if not model.settings.architecture.has_network:
        return []
    runs = _RUNS_OF.get(model.settings.architecture.backbone, _RUN_LIMIT)
    side, cells = _lattice(instances, case.prepared.settings.pixel_mm, runs)
    owner = np.repeat(np.arange(len(instances)), [int(c.max()) for c in cells])
    seen = [cut_mask(numbers, place, patches.shape[-1]) for numbers, place in zip(cells, places)]
    painted = [
        _painted(patch, on_patch > 0, on_patch == n, side)
        for patch, on_patch, numbers in zip(patches, seen, cells)
        for n in range(1, int(numbers.max()) + 1)
    ]
    without = model.predict(np.stack(painted), table.values[owner], table.names).logit.mean(axis=1)
    lost = prediction.logit.mean(axis=1)[owner] - without
    return [
        cell_map(instance, numbers, side, lost[owner == n])
        for n, (instance, numbers) in enumerate(zip(instances, cells))
    ]


def _lattice(instances: Sequence[Instance], pixel_mm: float, runs: int = _RUN_LIMIT) -> tuple[int, list[np.ndarray]]:
    """A cell's side in pixels and the cells of every mask: _CELL_MM, or larger as long as there are too many."""
    side = max(1, round(_CELL_MM / pixel_mm))
    while True:
        cells = [_joined(cut_cells(i.mask, side), _LEAST * side**2) for i in instances]
        if sum(int(c.max()) for c in cells) <= max(runs, len(instances)):
            return side, cells
        side += 1


def _joined(numbers: np.ndarray, least: float) -> np.ndarray:
    """Cells of fewer than ``least`` pixels joined to the nearest of the others, if there are others."""
    sizes = np.bincount(numbers.ravel())[1:]
    large = np.flatnonzero(sizes >= least)
    if not large.size:
        return numbers
    rows, columns = np.nonzero(numbers)
    at = numbers[rows, columns] - 1
    centres = np.stack([np.bincount(at, rows), np.bincount(at, columns)], axis=1) / sizes[:, None]
    nearest = ((centres[:, None] - centres[large]) ** 2).sum(axis=2).argmin(axis=1)
    joined = np.zeros_like(numbers)
    joined[rows, columns] = nearest[at] + 1
    return joined


def _painted(patch: np.ndarray, mask: np.ndarray, cell: np.ndarray, side: int) -> np.ndarray:
    """``patch`` (c, size, size) with the pixels of ``cell`` as bright as the median of ``mask`` around them.

    ``cell`` and ``mask`` are on the patch. A cell that is the whole mask stays as it is.
    """
    around = binary_dilation(cell, iterations=max(1, side // 2)) & mask & ~cell
    painted = patch.copy()
    if around.any():
        painted[0, cell] = np.median(patch[0, around])
    return painted
