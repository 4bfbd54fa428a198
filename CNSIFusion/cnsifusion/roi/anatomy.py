"""Where things are in one head: the template's place in it, brain and white matter, mid-sagittal plane, and trust."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.lattice import Lattice, make_lattice
from cnsifusion.roi.maps import coarse_grid, part_distances, tissue_maps
from cnsifusion.roi.midplane import find_midplane
from cnsifusion.roi.morphology import Box, grown, shrunk
from cnsifusion.roi.placement import Placement
from cnsifusion.roi.regions import Plane
from cnsifusion.roi.registration import SWELLINGS, Registration, register
from cnsifusion.roi.samples import SAMPLES, template_samples
from cnsifusion.roi.template import load_template
from cnsifusion.roi.warp import LEVELS, Warp, bend
from cnsifusion.threads import both

#: Points of the template (LPS mm; MNI x and y negated) that readers know. The middle of the anterior commissure
#: as the template's T1 picture shows it, the posterior after Talairach's landmarks in MNI152, and the centre of the
#: underside of putamen and pallidum (of the lowest voxels of all columns).
LANDMARKS = {
    "anterior commissure": (0.0, -3.0, -4.7),
    "posterior commissure": (0.0, 26.0, -2.0),
    "lentiform base left": (24.2, -1.4, -7.6),
    "lentiform base right": (-24.2, -1.4, -7.6),
}
#: Bending and the mid-plane see pixels of at least this size (mm): they blur all finer detail away.
_SEEN_MM = 0.5
#: CSF over grey and white matter: 1.6 and more in the T2 heads looked at, 1.3 in a proton density image.
_CSF_OVER_TISSUE = 1.4


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The template in a patient's head.

    ``template_to_patient`` is the 4x4 affine (LPS mm), ``warp`` the local displacement on top of it,
    ``lattice`` both, worked out on the patient's ``grid`` (which padding does not shift as rounding shifts that of a
    padded file, by up to 0.005 mm). ``brain`` and ``white_matter`` (deep, away from lesions and edges) are bool arrays
    [k, j, i] on ``grid``. ``trusted`` is False when regions should not be offered, and ``reasons`` says why in
    sentences. ``swelling`` is how far its ventricles are swollen (see ``swollen``; 0 in most heads), ``swollen`` a
    lattice that suits the ventricles alone (old age).
    """

    grid: Grid
    template_to_patient: np.ndarray
    warp: Warp
    lattice: Lattice
    brain: np.ndarray
    white_matter: np.ndarray
    midplane: Plane
    trusted: bool
    reasons: list[str] = field(default_factory=list)
    swelling: float = 0.0
    swollen: Lattice | None = None

    def sample(self, array: np.ndarray, grid: Grid | None = None, outside: float = 0.0) -> np.ndarray:
        """A map ``array`` of template space (on ``grid``, by default the template's) on the patient's grid (float32).

        Linear; beyond the map it is ``outside``. Maps are smooth, so they are read on ``lattice`` and interpolated.
        """
        return self.lattice.spread(self.lattice.read(array, grid or load_template().grid, outside))

    def cropped(self, box: Box) -> Anatomy:
        """The same anatomy on the voxels ``box`` [k, j, i] of the grid alone."""
        return self._moved(lambda lattice: lattice.cropped(box), self.brain[box], self.white_matter[box])

    def padded(self, box: Box, shape: tuple[int, ...]) -> Anatomy:
        """The same anatomy in an image of ``shape`` whose voxels ``box`` are this one's; there is no more brain."""
        brain, white_matter = np.zeros((2, *shape), bool)
        brain[box], white_matter[box] = self.brain, self.white_matter
        return self._moved(lambda lattice: lattice.padded(box, shape), brain, white_matter)

    def _moved(self, move: Callable[[Lattice], Lattice], brain: np.ndarray, white_matter: np.ndarray) -> Anatomy:
        """The same anatomy on the grid that ``move`` brings its lattices to."""
        lattice, swollen = move(self.lattice), None if self.swollen is None else move(self.swollen)
        return replace(
            self, grid=lattice.grid, lattice=lattice, brain=brain, white_matter=white_matter, swollen=swollen
        )

    def prior(self, label_name: str) -> np.ndarray:
        """How much (0-1, float32) of each voxel the template gives to ``label_name`` (see template.LABELS)."""
        template, whole = load_template(), np.zeros(self.grid.shape, np.float32)
        share = self.lattice.read(template.mask(label_name), template.grid, 0.0)
        box = self.lattice.around(share > 0)
        whole[box] = self.lattice.spread(share, box)
        return whole

    def to_patient(self, points: np.ndarray) -> np.ndarray:
        """Patient positions (n, 3) LPS mm of template ``points`` (n, 3)."""
        affine = self.template_to_patient
        return self.warp.inverse(np.atleast_2d(np.asarray(points, float))) @ affine[:3, :3].T + affine[:3, 3]

    def to_template(self, points: np.ndarray) -> np.ndarray:
        """Template positions (n, 3) LPS mm of patient ``points`` (n, 3)."""
        inverse = np.linalg.inv(self.template_to_patient)
        return self.warp(np.asarray(points, float) @ inverse[:3, :3].T + inverse[:3, 3])

    def landmarks(self) -> dict[str, np.ndarray]:
        """Patient positions (LPS mm) of LANDMARKS, so that a reader can check where the template was placed."""
        return dict(zip(LANDMARKS, self.to_patient(np.array(list(LANDMARKS.values())))))


def locate(volume: Volume) -> Anatomy:
    """Find the template's structures in ``volume`` (canonical order, T2-like, with or without skull).

    Padding changes nothing: the search sees the image without its margins.
    """
    box = volume.content()
    return _locate(volume.unpadded(box)).padded(box, volume.grid.shape)


def _locate(volume: Volume) -> Anatomy:
    registration, seen = register(volume), volume.averaged(_SEEN_MM)
    affine = registration.fit.affine.matrix
    warp, (plane, swollen) = both(
        lambda: bend(seen, registration),
        lambda: (find_midplane(seen, affine), _ventricles_place(seen, volume.grid, registration)),
    )
    lattice = make_lattice(volume.grid, affine, warp)
    brain = _brain(volume, lattice)
    white = _white_matter(volume, lattice, brain)
    reasons = _doubts(registration, brain, white)
    return Anatomy(
        volume.grid, affine, warp, lattice, brain, white, plane, not reasons, reasons, registration.swelling, swollen
    )


def _ventricles_place(seen: Volume, grid: Grid, registration: Registration) -> Lattice | None:
    """The lattice on ``grid`` of a registration that suits the ventricles better, if there is one."""
    better = registration.for_ventricles
    return None if better is None else make_lattice(grid, better.fit.affine.matrix, bend(seen, better))


def warm_up() -> None:
    """Work out what a proposal needs of the template alone, so that the first head takes no longer than the next."""
    for step, sigma in SAMPLES:
        template_samples(step, sigma)
    template_samples(*SAMPLES[1], SWELLINGS[0])
    for _, sigma, _ in LEVELS:
        tissue_maps(sigma)
    part_distances()


def place(volume: Volume, placement: Placement) -> Anatomy:
    """The anatomy of ``volume`` where the template's place is known: as ``locate`` works it out, without the search."""
    lattice = make_lattice(volume.grid, placement.affine, placement.warp)
    brain = _brain(volume, lattice)
    white = _white_matter(volume, lattice, brain)
    return Anatomy(volume.grid, placement.affine, placement.warp, lattice, brain, white, placement.midplane, True)


def _brain(volume: Volume, lattice: Lattice) -> np.ndarray:
    """The template's brain in the patient, without empty voxels."""
    template = load_template()
    share = lattice.read(template.brain, template.grid, 0.0)
    box = lattice.around(share > 0)
    inside, array = lattice.spread(share, box) > 0.5, volume.array[box]
    brain = np.zeros(volume.grid.shape, bool)
    if inside.any():
        brain[box] = inside & (array > 0.1 * np.median(array[inside]))
    return brain


def _white_matter(volume: Volume, lattice: Lattice, brain: np.ndarray) -> np.ndarray:
    """Voxels that the template calls white matter, eroded in plane, within the main mode of their intensities."""
    certain = lattice.read(tissue_maps(2.0)["wm"], coarse_grid(), 0.0)
    box = lattice.around(certain > 0.8)
    part = (lattice.spread(certain, box) > 0.8) & brain[box]
    where, values = np.flatnonzero(part), volume.array[box][part]
    for _ in range(3):
        if values.size < 50:
            break
        median = np.median(values)
        spread = 1.4826 * np.median(np.abs(values - median)) + 1e-6 * abs(median)
        kept = np.abs(values - median) <= 2.5 * spread
        where, values = where[kept], values[kept]
    part = np.zeros_like(part)
    part.ravel()[where] = True
    inner = shrunk(grown(np.pad(part, 1), 1), 2)[1:-1, 1:-1, 1:-1] & part  # closed, then eroded
    white = np.zeros(brain.shape, bool)
    white[box] = inner if inner.sum() >= 200 else part
    return white


def _doubts(registration: Registration, brain: np.ndarray, white: np.ndarray) -> list[str]:
    """Why the placement should not be trusted, one sentence each, the most telling first; empty if it should."""
    fit, levels, reasons = registration.fit, registration.levels, []
    if fit.correlation < 0.5:  # then the levels are no tissue's
        reasons.append("The head could not be matched to the template well enough.")
    elif not levels["csf"] > _CSF_OVER_TISSUE * max(levels["gm"], levels["wm"]):
        reasons.append("CSF is not clearly brighter than brain tissue.")
    if fit.inside < 0.75:
        reasons.append("A large part of the brain is outside the image; regions are not proposed.")
    if registration.rival_mm > 12:
        reasons.append("Two different placements of the template explain this head equally well.")
    scale = np.cbrt(np.linalg.det(fit.affine.linear))
    if not 0.72 < scale < 1.3:
        reasons.append(f"The brain would be {scale:.2f} times the size of an adult's, which is not believable.")
    slices = np.flatnonzero(brain.any((1, 2)))
    if np.any(np.diff(slices) > 1):
        reasons.append("Slices in the middle of the brain hold no signal.")
    if int(white.sum()) < 50 or not brain.any():
        reasons.append("No reliable white matter was found.")
    return reasons
