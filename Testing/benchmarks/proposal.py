"""How good and how fast the automatic proposal is: one run, one table per question.

    python Testing/benchmarks/proposal.py [--simulated N] [--labels DIR [--crisp MM] [--lesions SHARE]
                                          [--swollen ML]] [--starts N] [--sheets DIR] [--only NAME ..]

About four minutes on one core with the defaults, and 20 seconds more for every label map.

Volumes: simulated patients of this project with their exact truth, where ../shared/data exists its simulated heads
(exact truth) and real heads (silver labels: loose), and with --labels heads painted from label maps of real people (see
labelheads.py). The sub-lentiform truth is the protocol's rule applied to the true putamen and pallidum in the true
placement: the simulation's own for our patients, elsewhere the similarity that brings an atlas's centres onto the true
structures (trueframe.py), without the true amygdala where that is known (readings.py asks how much such choices
matter). The proposal's placement has no part in it. Landmarks: the anterior commissure of the real
heads as marked by eye and of our simulated patients (bent copies of the template, so optimistic), and, for every head
with exact truth, the base of the lentiform nucleus (both in landmarks.py). The PVS curve plants discs of known size and
brightness on the left of one simulated head. Times are process CPU seconds on one thread and wall seconds; the first
call of a process also derives the template's maps and is not in the medians.
``--starts`` moves and turns one head's geometry by up to 20 mm and 20 degrees about each axis and counts how often the
fit ends within 2 mm of the unmoved one.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from labelheads import crisp_heads, painted_heads
from landmarks import base_errors, commissure_errors
from scipy import ndimage
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation
from trueframe import region_below, true_placement

from cnsifusion.imaging import Volume, read_image, read_labels
from cnsifusion.imaging.grid import Grid
from cnsifusion.roi import names
from cnsifusion.roi.anatomy import LANDMARKS, Anatomy, locate, place
from cnsifusion.roi.foci import noise_level
from cnsifusion.roi.propose import propose
from cnsifusion.roi.regions import Focus, RegionSet

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
PART_CODES = {"lateral": 1, "third": 2, "fourth": 3}
NUCLEUS = ("putamen", "pallidum")
NUCLEI = {"left": (4, 6), "right": (5, 7)}
SUBLENTIFORM = {"left": names.SUBLENTIFORM_LEFT, "right": names.SUBLENTIFORM_RIGHT}
TARGETS = {"lateral thin": 0.93, "lateral thick": 0.90, "third/fourth": 0.75, "sub-lentiform": 0.65, "silver": 0.80}


@dataclass
class Head:
    """A volume with what is known of it; ``exact`` tells simulated truth from silver labels."""

    name: str
    volume: Volume
    exact: bool
    parts: dict[str, np.ndarray]
    nuclei: dict[str, np.ndarray] = field(default_factory=dict)
    sublentiform: dict[str, np.ndarray] = field(default_factory=dict)
    foci: list[Focus] | np.ndarray | None = None
    commissure: np.ndarray | None = None


def shared_heads() -> Iterator[Head]:
    """The heads of ../shared/data that are there."""
    for folder in ("synA_normal", "synB_pvs"):
        image, labels = SHARED / folder / f"{folder}_T2w.nii.gz", SHARED / folder / f"{folder}_dseg.nii.gz"
        if image.exists():
            yield _labelled(folder, image, labels, exact=True)
    for folder in ("oms_patient01_study1", "oms_patient01_study2", "oms_patient03_study1", "oms_patient03_study2"):
        if (SHARED / folder / "T2w.nii.gz").exists():
            yield _labelled(folder, SHARED / folder / "T2w.nii.gz", SHARED / folder / "silver_dseg.nii.gz", exact=False)
    if (SHARED / "cstar_stroke" / "T2w_brain.nii.gz").exists():
        folder = SHARED / "cstar_stroke"
        yield _labelled("cstar_stroke", folder / "T2w_brain.nii.gz", folder / "silver_dseg.nii.gz", exact=False)
    if (SHARED / "sri24" / "late.nii.gz").exists():
        yield Head("sri24", read_image(SHARED / "sri24" / "late.nii.gz"), False, {})


def _labelled(name: str, image: Path, labels: Path, exact: bool) -> Head:
    array, _ = read_labels(labels)
    parts = {part: array == code for part, code in PART_CODES.items()}
    structures = {**parts, **{f"{n}_{s}": array == c for s, p in NUCLEI.items() for n, c in zip(NUCLEUS, p)}}
    return _with_truth(name, read_image(image), exact, structures, array == 8 if exact else None)


def label_heads(
    folder: Path, crisp_mm: float | None = None, lesions: float = 0.0, swollen: float = 0.0
) -> Iterator[Head]:
    """Heads painted from every label map of ``folder``: with ``crisp_mm`` in slices of that, as synA and synB are.

    Their ``lesions`` are so far on the way to CSF (0: there are none), their ventricles ``swollen`` to so many ml.
    """
    ill = lesions, swollen
    for painted in crisp_heads(folder, crisp_mm, *ill) if crisp_mm else painted_heads(folder, *ill):
        none = np.zeros(painted.volume.grid.shape, bool)
        yield _with_truth(painted.name, painted.volume, True, painted.structures, none)


def _with_truth(
    name: str, volume: Volume, exact: bool, structures: dict[str, np.ndarray], foci: np.ndarray | None
) -> Head:
    """A head whose region B (only if the labels are ``exact``) follows from its true ``structures``."""
    nuclei = {side: structures[f"putamen_{side}"] | structures[f"pallidum_{side}"] for side in NUCLEI}
    below = {}
    if exact:
        known = place(volume, true_placement(structures, volume.grid))
        for side, nucleus in nuclei.items():
            others = [structures[name] for name in (f"amygdala_{side}", f"diencephalon_{side}") if name in structures]
            below[side] = region_below(volume, known, nucleus) & ~np.logical_or.reduce([nucleus, *others])
    parts = {part: structures[part] for part in PART_CODES}
    return Head(name, volume, exact, parts, nuclei, below, foci)


def simulated_heads(count: int) -> Iterator[Head]:
    """Patients of this project's simulation, healthy and infected in turn."""
    from cnsifusion.simulation import SimulationSettings, simulate_patient
    from cnsifusion.simulation.latents import draw_latents
    from cnsifusion.simulation.pose import draw_pose

    settings = SimulationSettings()
    for seed in range(count):
        patient = simulate_patient(9000 + seed, bool(seed % 2), settings)
        latents = draw_latents(9000 + seed, bool(seed % 2), settings)
        stream = np.random.default_rng(np.random.SeedSequence([9000 + seed, 2]).spawn(5)[0])  # simulate_patient's first
        pose = draw_pose(stream, settings.sites[latents.site], settings.max_tilt, latents.sex == "M")
        assert pose.grid == patient.volume.grid
        commissure = pose.from_template(np.array([LANDMARKS["anterior commissure"]]))[0]
        parts = {part: patient.truth.parts == code for part, code in PART_CODES.items()}
        nuclei = {
            side: patient.structures[f"putamen_{side}"] | patient.structures[f"pallidum_{side}"] for side in NUCLEI
        }
        below = {side: patient.truth.masks[name] for side, name in SUBLENTIFORM.items()}
        name = f"simulated {9000 + seed}"
        yield Head(name, patient.volume, True, parts, nuclei, below, patient.truth.foci, commissure)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / max(1.0, float(a.sum() + b.sum()))


def surface_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Median in-plane distance (pixels) of the outlines of two masks, over the slices that have both."""
    found: list[float] = []
    for k in np.flatnonzero(a.any((1, 2)) & b.any((1, 2))):
        edges = [m[k] & ~ndimage.binary_erosion(m[k]) for m in (a, b)]
        for one, other in (edges, edges[::-1]):
            found += ndimage.distance_transform_edt(~other)[one].tolist()
    return statistics.median(found) if found else float("nan")


def ventricle_rows(head: Head, regions: RegionSet) -> list[str]:
    rows = []
    for part, code in PART_CODES.items():
        truth = head.parts.get(part)
        if truth is None or regions.parts is None:
            continue
        mask, voxel = regions.parts == code, head.volume.grid.voxel_volume / 1000
        millilitres, true = mask.sum() * voxel, truth.sum() * voxel
        surface = surface_distance(mask, truth)
        target = TARGETS["silver"]
        if head.exact:
            thin = head.volume.spacing[2] <= 4
            target = TARGETS[f"lateral {'thin' if thin else 'thick'}" if part == "lateral" else "third/fourth"]
        score = dice(mask, truth)
        verdict = "" if not head.exact and part != "lateral" else "ok" if score >= target else "below"
        rows.append(
            f"{head.name:24s} {part:8s} Dice {score:.3f} (target {target:.2f} {verdict:5s})"
            f" volume {millilitres:6.2f} ml,"
            f" true {true:6.2f} ({100 * (millilitres / max(true, 1e-9) - 1):+5.1f} %), surface {surface:.1f} px"
        )
    return rows


def sublentiform_rows(head: Head, regions: RegionSet, found: list[tuple[float, float]]) -> list[str]:
    """A row per side; its Dice and centre distance (mm) are appended to ``found``."""
    rows = []
    for side, truth in head.sublentiform.items():
        mask = regions.masks.get(SUBLENTIFORM[side])
        if mask is None:
            continue
        grid = head.volume.grid
        centres = [grid.to_lps(np.argwhere(m)[:, ::-1].mean(0)) for m in (mask, truth)]
        distance = float(np.linalg.norm(centres[0] - centres[1]))
        score = dice(mask, truth)
        found.append((score, distance))
        verdict = "ok" if score >= TARGETS["sub-lentiform"] and distance <= 3 else "below"
        rows.append(
            f"{head.name:24s} {side:5s} Dice {score:.3f}, centre {distance:.1f} mm ({verdict}), volume "
            f"{mask.sum() * grid.voxel_volume / 1000:.2f} ml, true {truth.sum() * grid.voxel_volume / 1000:.2f}"
        )
    return rows


def foci_row(head: Head, regions: RegionSet) -> list[str]:
    """Lesion-wise recall (true foci in or within 5 mm above the true region's reach) and false foci per side."""
    if head.foci is None:
        return []
    grid = head.volume.grid
    if isinstance(head.foci, np.ndarray):
        labels, n = ndimage.label(head.foci, np.ones((3, 3, 3)))
        groups = [np.argwhere(labels == c) for c in range(1, n + 1)]
    else:
        wanted = [f for f in head.foci if f.diameter_mm >= 1.0 and f.contrast_to_noise >= 3]
        groups = [f.voxels for f in wanted]
    true = [grid.to_lps(g[:, ::-1]) for g in groups]
    drawn = [f for f in regions.foci if f.likely]
    small = [f for f in drawn if not f.large]

    def matches(points: np.ndarray, focus: Focus) -> bool:
        return bool(cdist(points, grid.to_lps(focus.voxels[:, ::-1])).min() <= 2)

    hit = sum(any(matches(points, f) for f in drawn) for points in true)
    known = [grid.to_lps(f.voxels[:, ::-1]) for f in head.foci] if isinstance(head.foci, list) else true
    false = {s: sum(f.side == s and not any(matches(p, f) for p in known) for f in small) for s in SUBLENTIFORM}
    recall = f"{hit}/{len(true)}" if true else "none planted"
    return [f"{head.name:24s} recall {recall:12s} false left {false['left']}, right {false['right']}"]


def focus_curve(head: Head, anatomy: Anatomy, regions: RegionSet) -> list[str]:
    """Recall of discs planted in the left region B, by diameter and brightness, and what is new on the right.

    Brightness is the share of the way from the region's tissue to CSF: what slice averaging leaves of a PVS.
    """
    volume, mask = head.volume, regions.masks[names.SUBLENTIFORM_LEFT]
    noise = noise_level(volume, anatomy.white_matter)
    csf = np.percentile(volume.array[head.parts["lateral"]], 75) - np.median(volume.array[mask])
    places = _planting_places(volume, mask, regions)
    before = sum(f.side == "right" and f.likely for f in regions.foci)
    rows = []
    for diameter in (0.8, 1.0, 1.5, 2.0, 3.0):
        cells = []
        for share in (0.15, 0.25, 0.4, 0.7, 1.0):
            array = volume.array.copy()
            for centre in places:
                array[centre[0]] += (share * csf * disc(volume, diameter, centre)).astype(np.float32)
            foci = [f for f in propose(volume.with_array(array), anatomy).foci if f.likely]
            left = [volume.grid.to_lps(f.voxels[:, ::-1]) for f in foci if f.side == "left"]
            at = volume.grid.to_lps(places[:, ::-1])
            hit = sum(any(np.linalg.norm(points - p, axis=1).min() <= 2 for points in left) for p in at)
            other = sum(f.side == "right" for f in foci) - before
            cells.append(f"{share:4.0%} (CNR {share * csf / noise:.0f}): {hit}/{len(places)} (right {other:+d})")
        rows.append(f"{head.name:24s} {diameter:.1f} mm  " + "  ".join(cells))
    return rows


def disc(volume: Volume, diameter: float, place: np.ndarray) -> np.ndarray:
    """Share (0-1, [j, i]) of every voxel of its slice in a disc of ``diameter`` (mm) about ``place`` (k, j, i)."""
    rows, columns = (np.arange(n) - at for n, at in zip(volume.array.shape[1:], place[1:]))
    radius = np.hypot(rows[:, None] * volume.spacing[1], columns * volume.spacing[0])
    return np.clip((diameter / 2 - radius) / volume.spacing[0] + 0.5, 0, 1)


def _planting_places(volume: Volume, mask: np.ndarray, regions: RegionSet) -> np.ndarray:
    """Up to 12 voxels (k, j, i) in ``mask``, 4 mm apart and away from its border and from what is a focus already."""
    depth = np.stack([ndimage.distance_transform_edt(plane) for plane in mask]) * volume.spacing[0]
    candidates = np.argwhere(depth > 1.5)
    taken = [volume.grid.to_lps(f.voxels[:, ::-1]).mean(0) for f in regions.foci]
    places: list[np.ndarray] = []
    for n in np.random.default_rng(3).permutation(len(candidates)):
        point = volume.grid.to_lps(candidates[n][::-1])
        if all(np.linalg.norm(point - other) > 4 for other in taken) and len(places) < 12:
            taken.append(point)
            places.append(candidates[n])
    return np.array(places)


def capture_range(head: Head, starts: int) -> str:
    """How often a moved and turned copy of the head ends where the unmoved one does."""
    points = np.array([(0, -3, -4), (40, 0, 0), (-40, 0, 0), (0, 70, 0), (0, -50, 0), (0, 20, 50)], float)
    reference = locate(head.volume).to_patient(points)
    rng = np.random.default_rng(1)
    good, errors = 0, []
    for _ in range(starts):
        turn = Rotation.from_euler("xyz", rng.uniform(-20, 20, 3), degrees=True).as_matrix()
        shift, middle = rng.uniform(-20, 20, 3), reference.mean(0)
        old = head.volume.grid
        origin = turn @ (np.array(old.origin) - middle) + middle + shift
        grid = Grid(old.size, old.spacing, tuple(origin.tolist()), tuple((turn @ old.matrix).ravel().tolist()))
        found = locate(Volume(head.volume.array, grid)).to_patient(points)
        error = np.linalg.norm(found - ((reference - middle) @ turn.T + middle + shift), axis=1).max()
        errors.append(float(error))
        good += error <= 2
    return f"{head.name}: {good}/{starts} starts end within 2 mm; median {statistics.median(errors):.2f} mm"


def sheet(head: Head, regions: RegionSet, folder: Path) -> None:
    """A PNG of up to 18 slices with the outlines of everything proposed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    drawn = np.logical_or.reduce([*regions.masks.values(), np.zeros(regions.grid.shape, bool)])
    slices = np.flatnonzero(drawn.any((1, 2))) if drawn.any() else np.arange(regions.grid.size[2])
    slices = slices[np.unique(np.linspace(0, len(slices) - 1, 18).astype(int))]
    figure, axes = plt.subplots(3, 6, figsize=(24, 14))
    top = np.percentile(head.volume.array, 99.7)
    for axis, k in zip(axes.flat, slices):
        aspect = head.volume.spacing[1] / head.volume.spacing[0]
        axis.imshow(head.volume.array[k], cmap="gray", vmin=0, vmax=top, aspect=aspect)
        for name, mask in regions.masks.items():
            if mask[k].any():
                axis.contour(mask[k], [0.5], colors=[names.SEGMENTS[name].color], linewidths=0.8)
        axis.set_title(f"{head.name} {k}", fontsize=8)
    for axis in axes.flat:
        axis.axis("off")
    figure.tight_layout()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{head.name.replace(' ', '_')}.png", dpi=55)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulated", type=int, default=4, help="patients of the project's simulation")
    parser.add_argument("--labels", type=Path, help="folder of label maps to paint heads from (see labelheads.py)")
    parser.add_argument("--crisp", type=float, help="paint them as synA and synB are, in slices of so many mm")
    parser.add_argument("--lesions", type=float, default=0, help="... with lesions so far on the way to CSF (0-1)")
    parser.add_argument("--swollen", type=float, default=0, help="... with lateral ventricles swollen to so many ml")
    parser.add_argument("--starts", type=int, default=20, help="perturbed starts of the capture range test")
    parser.add_argument("--sheets", type=Path, help="folder for pictures to look at")
    parser.add_argument("--only", nargs="*", help="names of heads")
    arguments = parser.parse_args()
    ill = arguments.lesions, arguments.swollen
    painted = label_heads(arguments.labels, arguments.crisp, *ill) if arguments.labels else iter(())
    heads = chain(shared_heads(), simulated_heads(arguments.simulated), painted)
    first: Head | None = None
    if not (SHARED / "synA_normal").exists():
        print("../shared/data is not here: simulated patients only.")
    times: list[tuple[str, float, float]] = []
    tables: dict[str, list[str]] = {"Ventricles": [], "Sub-lentiform": [], "PVS-like foci": [], "Not offered": []}
    lateral: dict[str, float] = {}
    errors: dict[str, list[float]] = {}
    curve: list[str] = []
    sides: list[tuple[float, float]] = []
    for head in heads:
        if arguments.only and head.name not in arguments.only:
            continue
        first = first or head
        cpu, wall = time.process_time(), time.perf_counter()
        anatomy = locate(head.volume)
        regions = propose(head.volume, anatomy)
        times.append((head.name, time.process_time() - cpu, time.perf_counter() - wall))
        tables["Ventricles"] += ventricle_rows(head, regions)
        tables["Sub-lentiform"] += sublentiform_rows(head, regions, sides)
        tables["PVS-like foci"] += foci_row(head, regions)
        bases = base_errors(head.nuclei, head.volume.grid, anatomy) if head.exact else {}
        for landmark, found in (commissure_errors(head.name, head.commissure, anatomy) | bases).items():
            errors.setdefault(landmark, []).extend(found)
        if not curve and head.name.startswith("simulated") and names.SUBLENTIFORM_LEFT in regions.masks:
            curve = focus_curve(head, anatomy, regions)
        tables["Not offered"] += [f"{head.name:24s} {name}: {why}" for name, why in regions.withheld.items()]
        if regions.parts is not None:
            lateral[head.name] = float((regions.parts == 1).sum()) * head.volume.grid.voxel_volume / 1000
        if arguments.sheets:
            sheet(head, regions, arguments.sheets)
    for title, rows in tables.items():
        print(f"\n{title}")
        print("\n".join(rows) if rows else "-")
    if sides:
        good = sum(score >= TARGETS["sub-lentiform"] and distance <= 3 for score, distance in sides)
        scores, distances = np.array(sides).T
        print(
            f"Sub-lentiform: {good} of {len(sides)} sides reach both; Dice median {np.median(scores):.2f}, "
            f"least {scores.min():.2f}; centre median {np.median(distances):.1f}, farthest {distances.max():.1f} mm"
        )
    print("\nLandmarks (target: 3 mm median, 5 mm p95)")
    for landmark, found in errors.items():
        middle, high = statistics.median(found), np.percentile(found, 95)
        print(f"{landmark}: median {middle:.1f}, p95 {high:.1f} mm (n {len(found)})")
    print("\nFound of discs planted on the left, by diameter and brightness (share of CSF's); new ones on the right")
    print("\n".join(curve) if curve else "-")
    print("\nTest-retest of the lateral ventricles")
    for person in ("oms_patient01", "oms_patient03"):
        pair = [lateral[f"{person}_study{n}"] for n in (1, 2) if f"{person}_study{n}" in lateral]
        if len(pair) == 2:
            change = 200 * abs(pair[0] - pair[1]) / sum(pair)
            print(f"{person}: {pair[0]:.2f} and {pair[1]:.2f} ml, {change:.1f} % (target 6 %)")
    print("\nTime of locate + propose (bias correction is not part of it: the fit brings its own gain field)")
    for name, cpu_seconds, wall_seconds in times:
        print(f"{name:24s} cpu {cpu_seconds:5.2f} s, wall {wall_seconds:5.2f} s")
    if len(times) > 1:
        warm = [t[1] for t in times[1:]]
        walls = [t[2] for t in times[1:]]
        print(f"after the first call: cpu median {statistics.median(warm):.2f}, p95 {np.percentile(warm, 95):.2f} s")
        print(f"wall median {statistics.median(walls):.2f} (target 4), p95 {np.percentile(walls, 95):.2f} s (target 6)")
    if arguments.starts and first is not None:
        print("\nCapture range, +-20 degrees and +-20 mm per axis")
        print(capture_range(first, arguments.starts))


if __name__ == "__main__":
    main()
