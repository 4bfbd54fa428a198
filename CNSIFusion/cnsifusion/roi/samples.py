"""The template as scattered points with their tissue, which a head is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy import ndimage

from cnsifusion.roi.maps import TISSUES, coarse_grid, tissue_maps
from cnsifusion.roi.swelling import swollen

#: Middle of the template's brain, LPS mm.
CENTRE = np.array([0.0, 18.0, 5.0])


@dataclass(frozen=True, eq=False)
class Samples:
    """Template points (n, 3) LPS mm with their tissue fractions (n, len(TISSUES)) and brain fraction (n,)."""

    points: np.ndarray
    tissue: np.ndarray
    brain: np.ndarray

    @cached_property
    def terms(self) -> np.ndarray:
        """gain_terms of the points."""
        return gain_terms(self.points)

    @cached_property
    def raw(self) -> np.ndarray:
        """The points about the middle of the brain."""
        return self.points - CENTRE

    def painted(self, levels: Mapping[str, float]) -> np.ndarray:
        """Intensity (n,) of the points under the tissue ``levels``."""
        return self.tissue @ [levels[name] for name in TISSUES] / self.brain


#: Step and smoothing (mm) of the samples that ``register`` compares, from sparse to dense.
SAMPLES = ((14, 4.0), (6, 4.0), (4, 2.0))


@lru_cache(maxsize=16)
def template_samples(step: int, sigma: float, swelling: float = 0.0) -> Samples:
    """Samples every ``step`` (even) mm in the template's brain, of tissue maps smoothed by ``sigma`` (mm).

    With ``swelling`` the template's lateral ventricles are so much larger (see ``swollen``).
    """
    grid, maps = coarse_grid(), tissue_maps(sigma)
    k, j, i = np.indices([-(-n // (step // 2)) for n in grid.shape]).reshape(3, -1) * (step // 2)
    points = grid.to_lps(np.stack([i, j, k], -1))
    place = grid.to_kji(swollen(points, swelling))
    tissue = np.stack([ndimage.map_coordinates(maps[name], place, order=1) for name in TISSUES], -1).astype(float)
    brain = tissue.sum(1)
    inside = brain > 0.5
    return Samples(points[inside], tissue[inside], brain[inside])


def gain_terms(points: np.ndarray) -> np.ndarray:
    """Polynomials (n, 7) of template positions: constant, linear and square; the gain is a combination of them."""
    scaled = (points - CENTRE) / 70
    return np.concatenate([np.ones((len(points), 1)), scaled, scaled**2], 1)
