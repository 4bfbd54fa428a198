"""How much the figure for region B depends on how the protocol is read: one table of readings of the truth.

    python Testing/benchmarks/readings.py --labels DIR

The protocol's rule (columns of 10 mm under the true putamen and pallidum, in a window of the template) says neither
where the template's window lies in a head nor how its tissue is told apart. For every head painted from a label map
(see labelheads.py; about half a minute each) the region is worked out on the 1 mm map in each of these ways:

frames: the atlas's centres of nine structures brought onto the head's by a ``similarity``, ``rigid`` or ``affine``;
``nuclei``, a similarity from the four centres of putamen and pallidum; ``scanner`` and ``slices``, the axes of the map
and of the image through the nuclei's centre; ``brain``, an affine of the whole brain's picture.
tissue: ``labels`` leaves out CSF, ventricles, amygdala, diencephalon and hippocampus; ``CSF`` only the first two;
``window`` also the amygdala and optic tract as the template's window has them; ``all`` nothing.
``no z`` is the window without its upper and lower limit.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from labelheads import STRUCTURES, PaintedHead, paint, protocols, sampled, signal_of
from proposal import SUBLENTIFORM, dice
from scipy import ndimage
from trueframe import centres, fitted, turned_labels

from cnsifusion.imaging import read_labels
from cnsifusion.imaging.grid import Grid
from cnsifusion.roi.anatomy import locate
from cnsifusion.roi.propose import propose
from cnsifusion.roi.template import (
    DEPTH_MM,
    WINDOW_X,
    WINDOW_Y,
    WINDOW_Z,
    below_columns,
    load_template,
    sublentiform_window,
)

FRAMES = ("similarity", "rigid", "affine", "nuclei", "scanner", "slices", "brain")
TISSUES = ("labels", "CSF", "window", "all")
#: Every frame with every tissue, and the first frames without the limits along z.
READINGS = [*product(FRAMES, TISSUES, (True,)), *product(FRAMES[:3], TISSUES[:2], (False,))]
_NUCLEI = {side: STRUCTURES[f"putamen_{side}"] + STRUCTURES[f"pallidum_{side}"] for side in SUBLENTIFORM}
_FLUID = (0, 4, 5, 14, 15, 24, 43, 44)
_NO_PARENCHYMA = (17, 18, 28, 53, 54, 60)


def frames(labels: np.ndarray, grid: Grid, slices: np.ndarray) -> dict[str, np.ndarray]:
    """The template's place (4x4, LPS mm) in the head of the map ``labels`` on ``grid``, by every frame of FRAMES."""
    structures = {name: np.isin(labels, codes) for name, codes in STRUCTURES.items()}
    known, found = centres(structures, grid)
    result = {kind: fitted(known, found, kind) for kind in ("similarity", "rigid", "affine")}
    known, found = centres({n: m for n, m in structures.items() if n.startswith(("putamen", "pallidum"))}, grid)
    result["nuclei"] = fitted(known, found, "similarity")
    for name, axes in (("scanner", grid.matrix), ("slices", slices)):
        result[name] = np.eye(4)
        result[name][:3, :3] = axes
        result[name][:3, 3] = found.mean(0) - axes @ known.mean(0)
    return result | {"brain": _brain_affine(labels, grid, result["similarity"])}


def _brain_affine(labels: np.ndarray, grid: Grid, start: np.ndarray) -> np.ndarray:
    """The affine (12 numbers) by which the template, painted in the benchmark's T2 signals, looks most like the map."""
    template = load_template()
    csf, gm, wm = (signal_of(code) for code in (24, 3, 2))
    table = np.array([signal_of(code) if 0 < code < 500 else 0 for code in range(int(labels.max()) + 1)], np.float32)
    pictures = []
    painted = csf * template.csf + gm * template.gm + wm * template.wm
    for array, own in ((np.where(template.brain, painted, 0), template.grid), (table[labels.astype(int)], grid)):
        picture = sitk.GetImageFromArray(ndimage.gaussian_filter(array.astype(np.float32), 1.5))
        picture.SetSpacing(own.spacing)
        picture.SetOrigin(own.origin)
        picture.SetDirection(own.matrix.ravel().tolist())
        pictures.append(picture)
    transform = sitk.AffineTransform(start[:3, :3].ravel().tolist(), start[:3, 3].tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(0.01)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 0.02, 80)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(*pictures)
    affine = np.eye(4)
    affine[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    affine[:3, 3] = transform.GetTranslation()
    return affine


def truths(head: PaintedHead, labels: np.ndarray, grid: Grid) -> dict[tuple[str, str, bool, str], np.ndarray]:
    """Region B (bool on the image's grid) by frame, tissue, limits along z and side."""
    result = {}
    for name, affine in frames(labels, grid, head.volume.grid.matrix).items():
        code, box, (x, y, z) = turned_labels(labels, grid, affine)
        x, y = np.abs(x), -y
        fluid = np.isin(code, _FLUID) | (code >= 500)
        kept = {"labels": ~fluid & ~np.isin(code, _NO_PARENCHYMA), "CSF": ~fluid, "all": np.ones_like(fluid)}
        kept["window"] = ~fluid & sublentiform_window(x, y, z)
        window = (x >= WINDOW_X[0]) & (x <= WINDOW_X[1]) & (y >= WINDOW_Y[0]) & (y <= WINDOW_Y[1])
        limited = window & (z >= WINDOW_Z[0]) & (z <= WINDOW_Z[1])
        for side, codes in _NUCLEI.items():
            below = below_columns(np.isin(code, codes), int(DEPTH_MM))
            for frame, tissue, limits in READINGS:
                if frame == name:
                    region = below & (limited if limits else window) & kept[tissue]
                    shares = sampled(region.astype(np.float32), box, head.volume.grid)
                    result[frame, tissue, limits, side] = shares >= 0.5
    return result


def compared(one: np.ndarray, other: np.ndarray, grid: Grid) -> tuple[float, float, float]:
    """Dice, distance of the centres (mm) and ratio of the volumes of two masks."""
    if not (one.any() and other.any()):
        return 0.0, 99.0, 0.0
    distance = grid.to_lps(np.argwhere(one)[:, ::-1].mean(0)) - grid.to_lps(np.argwhere(other)[:, ::-1].mean(0))
    return dice(one, other), float(np.linalg.norm(distance)), float(one.sum() / other.sum())


def row(name: str, figures: list[tuple[float, float, float]]) -> str:
    scores, distances, ratios = np.array(figures).T
    good = int(((scores >= 0.65) & (distances <= 3)).sum())
    return (
        f"{name:24s} {good:2d} of {len(scores)} sides reach both; Dice mean {scores.mean():.2f}, least "
        f"{scores.min():.2f}; centre median {np.median(distances):.1f} mm; volume x {np.median(ratios):.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True, help="folder of label maps (see labelheads.py)")
    proposed: dict[tuple[str, str, bool], list[tuple[float, float, float]]] = {reading: [] for reading in READINGS}
    agreed: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for path, protocol in zip(sorted(parser.parse_args().labels.glob("*.nii.gz")), protocols()):
        head, (labels, grid) = paint(path, protocol), read_labels(path)
        masks = propose(head.volume, locate(head.volume)).masks
        known = truths(head, labels, grid)
        for side, name in SUBLENTIFORM.items():
            for reading in READINGS:
                figures = compared(masks.get(name, np.zeros(1, bool)), known[(*reading, side)], head.volume.grid)
                proposed[reading].append(figures)
            for one, other in product(FRAMES, FRAMES):
                pair = (known[frame, "labels", True, side] for frame in (one, other))
                agreed.setdefault((one, other), []).append(compared(*pair, head.volume.grid))
        print(f"{head.name} done", flush=True)
    print("\nThe proposal against every reading of the truth")
    for (frame, tissue, limits), found in proposed.items():
        print(row(f"{frame} {tissue}{'' if limits else ', no z'}", found))
    print("\nThe readings against each other (tissue by labels)")
    for (one, other), found in agreed.items():
        if FRAMES.index(one) < FRAMES.index(other):
            print(row(f"{one} / {other}", found))


if __name__ == "__main__":
    main()
