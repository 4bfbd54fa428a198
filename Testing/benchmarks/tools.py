"""The interactive tools: time of hover, click and whole action; how many actions a reader needs, ours and Slicer's.

    python Testing/benchmarks/tools.py [--cases NAME ...] [--actions 40]

The simulated reader sees the largest error (in 2-D, over all slices), clicks its centre, undoes what made the
result worse (which costs an action too) and goes on with the next largest error. NoC@x is the number of actions until
Dice x on the lateral ventricles, from nothing. All tools meet the same reader, volumes, truth and run.

Slicer's tools, at their best: *Threshold* with the range that gives the truth the highest Dice around the ventricles,
then *Islands* (keep, then remove or add the island under the cursor, face connectivity); *Level tracing* at the level
of that same threshold; *Grow from seeds* (slicer.vtkImageGrowCutSegment itself) with strokes of the widest sphere that
fits the error, up to 8 mm, on the extent of the ventricles plus 15 mm.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from actions import growth, whole_actions
from scipy import ndimage

from cnsifusion.imaging import Volume, read_image, read_labels
from cnsifusion.roi.agreement import dice
from cnsifusion.roi.tools.csf import ALL_SLICES, CsfSettings, grow, lobe
from cnsifusion.roi.tools.pvs import detect
from cnsifusion.roi.tools.result import cropped
from cnsifusion.roi.tools.sides import Midline, find_midline

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CASES = ("synA_normal", "synB_pvs", "oms_patient01_study1", "oms_patient01_study2", "oms_patient03_study1",
         "oms_patient03_study2", "simulated-9001", "simulated-9002", "simulated-9003", "simulated-9004")  # fmt: skip
#: A head like most, and the one whose clicks take longest.
TIMED = ("oms_patient01_study1", "synB_pvs")
LEVELS = (0.85, 0.90, 0.95)
_MARGIN_MM, _BRUSH_MM = 15.0, 8.0


@dataclass
class Scene:
    """An image and its truth, cropped to the truth plus a margin where a tool is slow."""

    image: np.ndarray
    truth: np.ndarray
    spacing: tuple[float, float, float]


@dataclass
class Error:
    """The largest error: its centre (k, j, i), whether it must be added, and its mask."""

    point: tuple[int, int, int]
    add: bool
    slices: int


class Lines:
    """The lines of symmetry of an image's slices, each found once, as the faces keep them."""

    def __init__(self, image: np.ndarray, spacing: tuple[float, float, float]):
        self._image, self._pixel = image, (spacing[1], spacing[0])
        self._found: dict[int, Midline | None] = {}

    def of(self, k: int) -> Midline | None:
        """The line of slice ``k``."""
        if k not in self._found:
            self._found[k] = find_midline(self._image[k], self._pixel)
        return self._found[k]


#: A tool: the mask now, the error -> the mask after one action.
Tool = Callable[[np.ndarray, Error], np.ndarray]


def errors(mask: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float], tried: set) -> Error | None:
    """The largest 3-D error not yet tried in vain; its centre is the deepest pixel of its largest slice."""
    candidates = []
    for add, wrong in ((True, truth & ~mask), (False, mask & ~truth)):
        labels, count = ndimage.label(wrong)
        boxes = ndimage.find_objects(labels)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        largest = np.argsort(-sizes[1:])[:12] + 1
        candidates += [(int(sizes[n]), add, labels[boxes[n - 1]] == n, boxes[n - 1]) for n in largest if n <= count]
    for _, add, piece, box in sorted(candidates, key=lambda c: -c[0]):
        for k in np.argsort(-piece.sum(axis=(1, 2)), kind="stable")[:3]:
            if not piece[k].any():
                continue
            depth = ndimage.distance_transform_edt(np.pad(piece[k], 1), sampling=(spacing[1], spacing[0]))[1:-1, 1:-1]
            j, i = np.unravel_index(int(depth.argmax()), depth.shape)
            point = (int(k) + box[0].start, int(j) + box[1].start, int(i) + box[2].start)
            if (point, add) not in tried:
                return Error(point, add, int(piece.any(axis=(1, 2)).sum()))
    return None


def reader(tool: Tool, scene: Scene, actions: int) -> list[float]:
    """Dice after each action of the simulated reader."""
    mask, curve, tried = np.zeros(scene.truth.shape, bool), [], set()
    score = 0.0
    while len(curve) < actions:
        error = errors(mask, scene.truth, scene.spacing, tried)
        if error is None:
            break
        after = tool(mask, error)
        new = dice(after, scene.truth)
        tried.add((error.point, error.add))
        if new > score:
            mask, score = after, new
            curve.append(score)
        else:
            curve += [min(new, score), score]  # the action and its undo
        if score >= LEVELS[-1]:
            break
    return curve[:actions]


def csf_tool(scene: Scene, both: bool = True) -> Tool:
    """Ours: a click for large errors works on all slices, for errors of up to two slices on its own.

    As in both faces a click that adds takes the other side too where it matches and nothing of it is drawn
    (``bothSides`` is left at its default).
    """
    lines = Lines(scene.image, scene.spacing)

    def act(mask: np.ndarray, error: Error) -> np.ndarray:
        settings, drawn = CsfSettings(neighbours=ALL_SLICES if error.slices > 2 else 0), cropped(mask, (0, 0, 0), "")
        if error.add:
            line = lines.of(error.point[0]) if both else None
            return mask | grow(scene.image, scene.spacing, error.point, settings, line, drawn).on(mask.shape)
        return mask & ~lobe(drawn, scene.spacing, error.point, settings).on(mask.shape)

    return act


def best_threshold(scene: Scene) -> tuple[float, float]:
    """The threshold that describes the truth best within 3 mm of it, what a skilled user finds by eye; and its Dice."""
    near = ndimage.distance_transform_edt(~scene.truth, sampling=scene.spacing[::-1]) <= 3
    low, high = np.percentile(scene.image[near], [20, 95])
    score, threshold = max((dice((scene.image > t) & near, scene.truth), float(t)) for t in np.linspace(low, high, 40))
    return threshold, score


def islands_tool(scene: Scene, threshold: float) -> Tool:
    """Slicer's Threshold (first action), then Islands."""
    bright = scene.image > threshold
    labels, _ = ndimage.label(bright)
    state = {"steps": 0}

    def act(mask: np.ndarray, error: Error) -> np.ndarray:
        state["steps"] += 1
        if state["steps"] == 1:
            return bright
        island = labels == labels[error.point] if bright[error.point] else np.zeros_like(mask)
        if state["steps"] == 2:
            return labels == labels[_deepest(bright & scene.truth)]  # keep selected island
        return mask | island if error.add else mask & ~island

    return act


def _deepest(mask: np.ndarray) -> tuple[int, int, int]:
    k = int(mask.sum(axis=(1, 2)).argmax())
    j, i = np.unravel_index(int(ndimage.distance_transform_edt(mask[k]).argmax()), mask[k].shape)
    return (k, int(j), int(i))


def tracing_tool(scene: Scene, threshold: float) -> Tool:
    """Slicer's Level tracing: the closed outline of one level around the point, filled, on one slice."""

    def act(mask: np.ndarray, error: Error) -> np.ndarray:
        k, j, i = error.point
        labels, _ = ndimage.label(scene.image[k] > threshold)
        region = ndimage.binary_fill_holes(labels == labels[j, i]) if labels[j, i] else np.zeros_like(mask[k])
        after = mask.copy()
        after[k] = mask[k] | region if error.add else mask[k] & ~region
        return after

    return act


def seeds_tool(scene: Scene) -> Tool:
    """Slicer's Grow from seeds: each action is one stroke of a sphere brush, in the ventricles or in the rest."""
    import slicer
    from vtk import VTK_FLOAT, VTK_UNSIGNED_CHAR
    from vtk.util.numpy_support import vtk_to_numpy

    def image_of(array: np.ndarray, kind: int):
        image = slicer.vtkOrientedImageData()
        image.SetDimensions(*array.shape[::-1])
        image.SetSpacing(*scene.spacing)
        image.AllocateScalars(kind, 1)
        vtk_to_numpy(image.GetPointData().GetScalars())[:] = array.ravel()
        return image

    seeds = np.zeros(scene.truth.shape, np.uint8)
    grid = np.meshgrid(*(np.arange(n) for n in scene.truth.shape), indexing="ij", sparse=True)
    cutter = slicer.vtkImageGrowCutSegment()
    cutter.SetIntensityVolume(image_of(scene.image.astype(np.float32), VTK_FLOAT))

    def act(mask: np.ndarray, error: Error) -> np.ndarray:
        where = scene.truth if error.add else ~scene.truth
        radius = min(_room(where, error.point, scene.spacing), _BRUSH_MM)
        away = sum(((g - p) * s) ** 2 for g, p, s in zip(grid, error.point, scene.spacing[::-1]))
        seeds[(away <= radius**2) & where] = 1 if error.add else 2
        seeds[error.point] = 1 if error.add else 2
        if len(np.unique(seeds)) < 3:  # nothing to tell apart yet
            return seeds == 1 if error.add else mask
        cutter.SetSeedLabelVolume(image_of(seeds, VTK_UNSIGNED_CHAR))
        cutter.Update()
        return vtk_to_numpy(cutter.GetOutput().GetPointData().GetScalars()).reshape(mask.shape) == 1

    return act


def _room(where: np.ndarray, point: tuple[int, int, int], spacing: tuple[float, float, float]) -> float:
    k, j, i = point
    return float(ndimage.distance_transform_edt(where[k], sampling=(spacing[1], spacing[0]))[j, i])


def seeds_reader(scene: Scene, actions: int) -> list[float]:
    """The reader of Grow from seeds: first one stroke in the ventricles and one ring of background, never an undo."""
    act, mask, curve = seeds_tool(scene), np.zeros(scene.truth.shape, bool), []
    far = ndimage.distance_transform_edt(~scene.truth, sampling=scene.spacing[::-1])
    k, j, i = np.unravel_index(int(np.where(far < 12, far, 0).argmax()), far.shape)
    start = Error((int(k), int(j), int(i)), False, 1)
    while len(curve) < actions:
        error = start if len(curve) == 1 else errors(mask, scene.truth, scene.spacing, set())
        if error is None:
            break
        mask = act(mask, error)
        curve.append(dice(mask, scene.truth))
        if curve[-1] >= LEVELS[-1]:
            break
    return curve


def noc(curve: list[float], level: float) -> str:
    """Actions until ``level``; ">n" when it was not reached."""
    reached = [n for n, score in enumerate(curve, 1) if score >= level]
    return str(reached[0]) if reached else f">{len(curve)} ({max(curve, default=0):.2f})"


def economy(name: str, volume: Volume, truth: np.ndarray, actions: int) -> dict[str, list[float]]:
    """Print and return (as curves) NoC of every tool on one case, and the Dice of the best threshold near the truth."""
    whole = Scene(volume.array, truth, volume.spacing)
    margin = [int(np.ceil(_MARGIN_MM / s)) for s in volume.spacing[::-1]]
    box = tuple(
        slice(max(s.start - m, 0), s.stop + m) for s, m in zip(ndimage.find_objects(truth.astype(np.uint8))[0], margin)
    )
    small = Scene(np.ascontiguousarray(volume.array[box]), np.ascontiguousarray(truth[box]), volume.spacing)
    threshold, ceiling = best_threshold(small)
    print(f"{name:22s} {'(any threshold)':20s} cannot exceed {ceiling:.2f}")
    curves = {
        "CNSI CSF": reader(csf_tool(whole), whole, actions),
        "CNSI CSF, one side": reader(csf_tool(whole, both=False), whole, actions),
        "Threshold + Islands": reader(islands_tool(whole, threshold), whole, actions),
        "Level tracing": reader(tracing_tool(whole, threshold), whole, actions),
        "Grow from seeds": seeds_reader(small, actions),
    }
    for tool, curve in curves.items():
        print(f"{name:22s} {tool:20s}" + "".join(f"{noc(curve, x):>14s}" for x in LEVELS), flush=True)
    return curves


def summary(kind: str, cases: list[dict[str, list[float]]], actions: int) -> None:
    """Print the median NoC over the cases (one not reached counts as more than ``actions``), tool by tool."""
    for tool in cases[0] if cases else ():
        medians = []
        for level in LEVELS:
            reached = [next((n for n, x in enumerate(c[tool], 1) if x >= level), np.inf) for c in cases]
            medians.append(float(np.median(reached)))
        shown = "".join(f"{f'{m:g}' if np.isfinite(m) else f'>{actions}':>14s}" for m in medians)
        print(f"{f'median of {len(cases)} {kind}':22s} {tool:20s}{shown}")


def _case(name: str) -> tuple[Volume, np.ndarray]:
    if name.startswith("simulated-"):
        from cnsifusion.simulation import SimulationSettings, simulate_patient

        patient = simulate_patient(int(name.split("-")[1]), False, SimulationSettings())
        return patient.volume, patient.truth.parts == 1
    folder = DATA / name
    volume = read_image(next(folder.glob("*T2w*.nii.gz")))
    labels, _ = read_labels(next(folder.glob("*dseg.nii.gz")))
    return volume, labels == 1


def latency(name: str, clicks: int = 60) -> None:
    """Print the time of a hover, of clicks and of whole actions on the case ``name``, as a 512 x 512 x 24 image."""
    volume, truth = _case(name)
    zoom = (24 / volume.array.shape[0], 512 / volume.array.shape[1], 512 / volume.array.shape[2])
    image = ndimage.zoom(volume.array, zoom, order=1)
    spacing = tuple(s / z for s, z in zip(volume.spacing, zoom[::-1]))
    inside = np.argwhere(ndimage.zoom(truth.astype(np.float32), zoom, order=1) > 0.5)
    chosen = np.random.default_rng(0).choice(len(inside), clicks, replace=False)
    points = [tuple(int(p) for p in inside[n]) for n in chosen]
    hover, every, lines = CsfSettings(), CsfSettings(neighbours=ALL_SLICES), Lines(image, spacing)
    kinds = {
        "line of symmetry of a slice": lambda p: find_midline(image[p[0]], (spacing[1], spacing[0])),
        "hover / click, one slice": lambda p: grow(image, spacing, p, hover, lines.of(p[0])),
        "click, +-2 slices": lambda p: grow(image, spacing, p, CsfSettings(neighbours=2), lines.of(p[0])),
        "click, all slices": lambda p: grow(image, spacing, p, every, lines.of(p[0])),
        "click, all, one side": lambda p: grow(image, spacing, p, every),
        "click, all, tolerance 0.8": lambda p: grow(image, spacing, p, replace(every, tolerance=0.8), lines.of(p[0])),
        "PVS click": lambda p: detect(image, spacing, p),
    }
    print(f"{name}: milliseconds of process time on {image.shape[::-1]} voxels, {clicks} points in the ventricles:")
    for kind, call in kinds.items():
        times = []
        for k in {point[0] for point in points}:
            lines.of(k)
        for point in points:
            start = time.process_time()
            call(point)
            times.append(1000 * (time.process_time() - start))
        print(f"  {kind:26s} median {np.median(times):6.1f}   p95 {np.percentile(times, 95):6.1f}", flush=True)
    ventricles = ndimage.zoom(truth.astype(np.float32), zoom, order=1) > 0.5
    whole_actions(image, spacing, ventricles)
    if name == TIMED[0]:
        growth(image, spacing, ventricles)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--actions", type=int, default=40)
    parser.add_argument("--times-only", action="store_true")
    options = parser.parse_args()
    if not DATA.exists():
        raise SystemExit("The test data (../shared/data) is absent; this benchmark needs it.")
    for name in TIMED:
        latency(name)
    if options.times_only:
        return
    print(f"\n{'case':22s} {'tool':20s}" + "".join(f"{f'NoC@{100 * x:.0f}':>14s}" for x in LEVELS))
    cases = {name: economy(name, *_case(name), options.actions) for name in options.cases}
    summary("cases", list(cases.values()), options.actions)
    for kind, real in (("real", True), ("simulated", False)):
        summary(kind, [curve for name, curve in cases.items() if name.startswith("oms") == real], options.actions)


if __name__ == "__main__":
    main()
