"""Makes ``resources/template/sublentiform_chance.nii.gz``: how likely region B lies where the template shows what.

    python Testing/chance_map.py --labels DIR [--check]

For each of the people of the label maps in DIR (see benchmarks/labelheads.py), heads are painted in three styles,
placed as ``locate`` places them, and the protocol's region under their true nuclei (in their true frame, without their
own amygdala and diencephalon) is brought into the template; the means of all people and of both sides are the map,
after twelve minutes. Maps 03 and 19 stay out: the simulated heads synA and synB of the test data are made from them.
With ``--check`` nothing is written: the heads of one half of the people are proposed with a map of the other half, and
the other way round.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "Testing" / "benchmarks"))

from labelheads import STRUCTURES  # noqa: E402
from proposal import SUBLENTIFORM, Head, label_heads  # noqa: E402
from readings import compared  # noqa: E402
from trueframe import true_placement, turned_labels  # noqa: E402

from cnsifusion.imaging import read_labels  # noqa: E402
from cnsifusion.imaging.grid import Grid  # noqa: E402
from cnsifusion.roi import sublentiform  # noqa: E402
from cnsifusion.roi.anatomy import Anatomy, locate  # noqa: E402
from cnsifusion.roi.propose import propose  # noqa: E402
from cnsifusion.roi.template import CHANCE_FILE, DEPTH_MM, below_columns, sublentiform_window  # noqa: E402

LEFT_OUT = ("training_seg_03", "training_seg_19")
#: Slices of the crisp styles (mm); the third style is the soft one.
STYLES = (3.0, 5.0, None)
#: Template space (LPS mm) that the map covers, 1 mm voxels.
MAP = Grid((81, 49, 41), (1.0, 1.0, 1.0), (-40.0, -24.0, -32.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def true_region(path: Path) -> tuple[np.ndarray, Grid]:
    """Region B of both sides of the person in the label map at ``path`` (bool [k, j, i] on a 1 mm grid of its own)."""
    labels, grid = read_labels(path)
    structures = {name: np.isin(labels, codes) for name, codes in STRUCTURES.items()}
    code, box, (x, y, z) = turned_labels(labels, grid, true_placement(structures, grid).affine)
    region = np.zeros(box.shape, bool)
    for side in SUBLENTIFORM:
        nucleus = np.isin(code, STRUCTURES[f"putamen_{side}"] + STRUCTURES[f"pallidum_{side}"])
        others = STRUCTURES[f"amygdala_{side}"] + STRUCTURES[f"diencephalon_{side}"]
        region |= below_columns(nucleus, int(DEPTH_MM)) & ~np.isin(code, others)
    return region & sublentiform_window(np.abs(x), -y, z), box


def in_template(region: np.ndarray, grid: Grid, anatomy: Anatomy) -> np.ndarray:
    """``region`` (on ``grid``) where the placement ``anatomy`` brings it: float32 on MAP, mean of both sides."""
    points = anatomy.to_patient(_points(MAP).reshape(-1, 3)).reshape(*MAP.shape, 3)
    index = grid.to_kji(points)
    found = ndimage.map_coordinates(ndimage.gaussian_filter(region.astype(np.float32), 0.5), index, order=1)
    return (found + found[:, :, ::-1]) / 2


def _points(grid: Grid) -> np.ndarray:
    return grid.to_lps(np.moveaxis(np.indices(grid.shape)[::-1], 0, -1))


def mean_map(shares: dict[str, list[np.ndarray]], people: Iterable[str]) -> np.ndarray:
    """The map of ``people`` but for LEFT_OUT as it is stored: uint8, 255 for certain."""
    chosen = [np.mean(shares[name], axis=0) for name in people if name not in LEFT_OUT]
    return np.rint(255 * np.mean(chosen, axis=0)).astype(np.uint8)


def check(heads: dict[str, list[tuple[Head, Anatomy]]], shares: dict[str, list[np.ndarray]]) -> None:
    """Sides that reach both goals, by style, each person with the map of the other half of the people."""
    names = sorted(heads)
    good, scores = np.zeros(len(STYLES), int), [[] for _ in STYLES]
    for half in (names[::2], names[1::2]):
        chance = mean_map(shares, [name for name in names if name not in half])
        sublentiform.sublentiform_chance = lambda chance=chance: (chance / np.float32(255), MAP)
        for name in half:
            for style, (head, anatomy) in enumerate(heads[name]):
                masks = propose(head.volume, anatomy).masks
                for side, truth in head.sublentiform.items():
                    score, distance, _ = compared(masks[SUBLENTIFORM[side]], truth, head.volume.grid)
                    good[style] += score >= 0.65 and distance <= 3
                    scores[style].append(score)
    for style, thickness in enumerate(STYLES):
        kind = f"crisp, {thickness:.0f} mm" if thickness else "soft"
        print(f"{kind:12s} {good[style]} of {len(scores[style])} sides, mean Dice {np.mean(scores[style]):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True, help="folder of label maps (see labelheads.py)")
    parser.add_argument("--check", action="store_true", help="held-out figures instead of a file")
    arguments = parser.parse_args()
    regions = {path.name.split(".")[0]: true_region(path) for path in sorted(arguments.labels.glob("*.nii.gz"))}
    shares: dict[str, list[np.ndarray]] = {name: [] for name in regions}
    heads: dict[str, list[tuple[Head, Anatomy]]] = {name: [] for name in regions}
    for style in STYLES:
        for head in label_heads(arguments.labels, style):
            anatomy = locate(head.volume)
            shares[head.name].append(in_template(*regions[head.name], anatomy))
            if arguments.check:
                heads[head.name].append((head, anatomy))
    if arguments.check:
        check(heads, shares)
        return
    image = sitk.GetImageFromArray(mean_map(shares, shares))
    image.SetOrigin(MAP.origin)
    sitk.WriteImage(image, str(ROOT / "CNSIFusion" / "cnsifusion" / "resources" / "template" / CHANCE_FILE), True)


if __name__ == "__main__":
    main()
