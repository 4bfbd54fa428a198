"""PVS-like foci of known shape planted in heads on one side at a time: what is found, and what is false.

    python Testing/benchmarks/plantedfoci.py [--labels DIR [--crisp MM]] [--simulated N]

Five seconds of CPU a head. Up to five shapes of full CSF stand at least 7 mm apart in the proposed region B: tubes of
10 mm that rise through the slices (up to 30 degrees aslant), tubes of 3 to 8 mm that lie in the slice, and balls;
blurred and averaged as the image is. Those with a contrast-to-noise of at least 3 are counted by the share of CSF's
brightness above the region's tissue that averaging leaves them; found is what a PVS-like focus (not a large one) lies
within 2 mm of. False are the small foci where nothing is planted. With ``--labels``, odd and even heads are apart.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
from proposal import SUBLENTIFORM, Head, label_heads, shared_heads, simulated_heads
from scipy import ndimage
from scipy.spatial.distance import cdist

from cnsifusion.imaging import Volume
from cnsifusion.roi.anatomy import locate
from cnsifusion.roi.foci import noise_level
from cnsifusion.roi.propose import propose
from cnsifusion.roi.regions import Focus

DIAMETERS = {"standing": (1.0, 1.5, 2.0, 2.5), "lying": (1.0, 1.5, 2.0), "ball": (1.0, 1.5, 2.0, 2.5, 3.0)}
SHAPES = [(kind, diameter) for kind, diameters in DIAMETERS.items() for diameter in diameters]
SHARES = (0.15, 0.25, 0.4)
APART_MM, NEAR_MM, LEAST_CONTRAST = 7.0, 2.0, 3.0
#: Blur (mm) of heads painted crisply and of all others.
CRISP_BLUR, BLUR = 0.6, 0.3


def cover(volume: Volume, kind: str, diameter: float, place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Share (0-1, [k, j, i]) of every voxel in a shape of ``kind`` about ``place`` (k, j, i), which it misses a bit."""
    spacing = np.array(volume.spacing)
    centre = (place[::-1] + rng.uniform(-0.5, 0.5, 3)) * spacing
    turn, slant, length = rng.uniform(0, 2 * np.pi), rng.uniform(0, np.pi / 6), 10.0
    if kind != "standing":
        slant, length = np.pi / 2, rng.uniform(3, 8) if kind == "lying" else 0.0
    axis = np.array([np.sin(slant) * np.cos(turn), np.sin(slant) * np.sin(turn), np.cos(slant)])
    half = np.abs(axis) * length / 2 + diameter / 2
    low = np.maximum(np.floor((centre - half) / spacing).astype(int), 0)
    high = np.minimum(np.ceil((centre + half) / spacing).astype(int) + 1, volume.grid.size)
    finer = np.array([5, 5, max(3, int(np.ceil(spacing[2] / 0.25)))])
    x, y, z = (
        ((np.arange(a * n, b * n) + 0.5) / n - 0.5) * s - c for a, b, n, s, c in zip(low, high, finer, spacing, centre)
    )
    points = np.stack(np.meshgrid(z, y, x, indexing="ij")[::-1], -1)
    along = np.clip(points @ axis, -length / 2, length / 2)
    inside = np.linalg.norm(points - along[..., None] * axis, axis=-1) <= diameter / 2
    sizes = [n for pair in zip((high - low)[::-1], finer[::-1]) for n in pair]
    share = np.zeros(volume.grid.shape, np.float32)
    share[tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1]))] = inside.reshape(sizes).mean((1, 3, 5))
    return share


def places(volume: Volume, mask: np.ndarray, foci: list[Focus], rng: np.random.Generator) -> list[np.ndarray]:
    """Up to five voxels (k, j, i) of ``mask``, away from one another and from every focus."""
    candidates, found = np.argwhere(mask), []
    taken = [volume.grid.to_lps(f.voxels[:, ::-1]).mean(0) for f in foci]
    for place in rng.permutation(candidates):
        point = volume.grid.to_lps(place[::-1])
        if len(found) < 5 and all(np.linalg.norm(point - other) > APART_MM for other in taken):
            taken.append(point)
            found.append(place)
    return found


def points_of(volume: Volume, focus: Focus) -> np.ndarray:
    return volume.grid.to_lps(focus.voxels[:, ::-1])


def measure(head: Head, group: str, blur: float, number: int, table: Counter, false: Counter) -> None:
    """Count what is found of shapes planted in ``head`` (in ``table``), and what is ``false``."""
    volume = head.volume
    anatomy = locate(volume)
    regions = propose(volume, anatomy)
    own = [points_of(volume, focus) for focus in regions.foci if focus.likely]
    fluid = np.percentile(volume.array[regions.parts == 1], 75) if regions.parts is not None else None
    noise = noise_level(volume, anatomy.white_matter)
    for side, name in SUBLENTIFORM.items():
        mask = regions.masks.get(name)
        if mask is None or fluid is None:
            continue
        rng = np.random.default_rng([number, side == "left"])
        csf = float(fluid - np.median(volume.array[mask]))
        array, planted = volume.array.astype(np.float32), []
        for place in places(volume, mask, regions.foci, rng):
            kind, diameter = SHAPES[rng.integers(len(SHAPES))]
            sharp = cover(volume, kind, diameter, place, rng)
            share = ndimage.gaussian_filter(sharp, (0, blur / volume.spacing[1], blur / volume.spacing[0]))
            added = share * np.maximum(fluid - array, 0)
            if added.max() >= LEAST_CONTRAST * noise:
                at = volume.grid.to_lps(np.argwhere(share > share.max() / 2)[:, ::-1])
                planted.append((kind, float(added.max() / csf), at))
            array += added
        foci = [f for f in propose(volume.with_array(array), anatomy).foci if f.likely]
        found = [points_of(volume, f) for f in foci if f.side == side and not f.large]
        for kind, share, at in planted:
            cell = f"{kind} {np.digitize(share, SHARES)}"
            table[cell] += 1
            table[f"{cell} found"] += any(cdist(at, points).min() <= NEAR_MM for points in found)
        away = [points_of(volume, f) for f in foci if f.side != side]
        false["other side"] += sum(all(cdist(p, o).min() > NEAR_MM for o in own) for p in away)
        if head.exact and not (head.foci.any() if isinstance(head.foci, np.ndarray) else head.foci):
            count = sum(f.side == side and f.likely and not f.large for f in regions.foci)
            false[f"{group}: sides"] += 1
            false[f"{group}: false"] += count
            false[f"{group}: sides with more than 2"] += count > 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, help="folder of label maps to paint heads from (see labelheads.py)")
    parser.add_argument("--crisp", type=float, help="paint them as synA and synB are, in slices of so many mm")
    parser.add_argument("--simulated", type=int, default=0, help="patients of the project's simulation")
    arguments = parser.parse_args()
    painted = label_heads(arguments.labels, arguments.crisp) if arguments.labels else iter(())
    tables: dict[str, Counter] = {}
    false: Counter = Counter()
    for number, head in enumerate(chain(shared_heads(), simulated_heads(arguments.simulated), painted)):
        seed = re.search(r"seg_(\d+)$", head.name)
        group = ("even", "odd")[int(seed[1]) % 2] if seed else "ours" if head.name.startswith("simu") else "scans"
        blur = CRISP_BLUR if (seed and arguments.crisp) or head.name.startswith("syn") else BLUR
        measure(head, group, blur, number, tables.setdefault(group, Counter()), false)
    report(tables, false)


def report(tables: dict[str, Counter], false: Counter) -> None:
    """Print what ``measure`` counted, by group of heads."""
    names = [f"below {SHARES[0]:.0%}", *(f"{a:.0%}-{b:.0%}" for a, b in pairwise(SHARES)), "more"]
    print(f"{'found of':18s}" + "".join(f"{name:>14s}" for name in names))
    for group, table in tables.items():
        for kind in DIAMETERS:
            cells = [f"{table[f'{kind} {n} found']} of {table[f'{kind} {n}']}" for n in range(len(names))]
            print(f"{group:8s}{kind:10s}" + "".join(f"{cell:>14s}" for cell in cells))
    print("\n".join(f"{name}: {count}" for name, count in sorted(false.items())))


if __name__ == "__main__":
    main()
