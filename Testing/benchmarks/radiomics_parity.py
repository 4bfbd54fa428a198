"""The native radiomics engine against pyradiomics: the worst feature of every class, over many images.

    python Testing/benchmarks/radiomics_parity.py [--seeds N]

Simulated images of several kinds, and the real volumes where ../shared/data is there. Prints one table; the bound is
1e-8 relative for textures and shape and 1e-5 of the region's standard deviation for first order. A texture above the
bound is a voxel whose LoG value lies so near the edge of a grey level that ITK's own float32 rounding decides its side:
such instances are counted, and their share printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path.pop(0)  # radiomics.py beside this file is not pyradiomics
sys.path.append(str(Path(__file__).resolve().parents[1] / "engine" / "radiomics"))

import numpy as np
import SimpleITK as sitk
from engine_parity import TEXTURE_BOUND, Worst, errors, worst_per_class
from radiomics_cases import discs, image, oblique, solid

from cnsifusion.imaging.grid import reorder
from cnsifusion.imaging.volume import Volume, grid_of
from cnsifusion.radiomics import RadiomicsSettings, RegionMask, extract, extract_with_pyradiomics

KINDS = {
    "thick slices": {},
    "isotropic": {"shape": (24, 50, 44), "spacing": (1.0, 1.0, 1.0)},
    "odd spacing, oblique": {"spacing": (0.4321, 0.871, 2.77), "direction": oblique()},
    "integers": {"dtype": np.int16},
}
SETTINGS = {
    "2-D": RadiomicsSettings(),
    "2-D, LoG in plane": RadiomicsSettings(log_mode="2D"),
    "3-D": RadiomicsSettings(force_2d=False, minimum_dimensions=1),
}
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def simulated(seeds: int) -> Iterator[tuple[str, Volume, list[RegionMask]]]:
    for seed in range(seeds):
        for kind, options in KINDS.items():
            volume = image(**{**options, "seed": seed})
            yield kind, volume, [*discs(volume, seed=seed), solid(volume, seed=seed)]


def real() -> Iterator[tuple[str, Volume, list[RegionMask]]]:
    for folder in sorted(DATA.glob("*")) if DATA.exists() else ():
        files = sorted(folder.glob("*T2*.nii.gz"))
        labels_file = sorted(folder.glob("*silver_dseg.nii.gz"))
        if not files or not labels_file:
            continue
        stored, truth = sitk.ReadImage(str(files[0])), sitk.ReadImage(str(labels_file[0]))
        array, grid = reorder(sitk.GetArrayFromImage(stored).astype(np.float32), grid_of(stored))
        labels, _ = reorder(sitk.GetArrayFromImage(truth), grid_of(truth))
        j, i = (slice(max(n.min() - 25, 0), n.max() + 25) for n in np.nonzero((labels > 0).any(axis=0)))
        array, labels = array[:, j, i] * np.float32(600 / array.std()), labels[:, j, i]
        regions = []
        for label in (1, 2, 4, 5):
            for k in np.argsort((labels == label).sum(axis=(1, 2)))[-3:]:
                regions.append(RegionMask(f"{label}", labels[k] == label, int(k)))
        yield "real", Volume(array, replace(grid, size=array.shape[::-1])), regions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    worst: dict[tuple[str, str], Worst] = {}
    within: dict[str, Worst] = {}
    instances = edge = 0
    for kind, volume, regions in [*simulated(options.seeds), *real()]:
        for name, settings in SETTINGS.items():
            native, reference = extract(volume, regions, settings), extract_with_pyradiomics(volume, regions, settings)
            error = errors(native, reference)
            for image_name in settings.image_names():
                columns = [n for n, c in enumerate(native.names) if c.startswith(image_name) and "firstorder" not in c]
                instances += len(regions)
                edge += int((error[:, columns].max(axis=1) > TEXTURE_BOUND).sum())
            for found in worst_per_class(native, reference):
                key = (f"{kind}, {name}", found.kind)
                if key not in worst or found.error > worst[key].error:
                    worst[key] = found
                if found.passed and (found.kind not in within or found.error > within[found.kind].error):
                    within[found.kind] = found
    print("| images | class | worst feature | error | bound | native | pyradiomics |\n|---|---|---|---|---|---|---|")
    for (case, kind), w in worst.items():
        error = f"{w.error:.1e}" if w.passed else f"**{w.error:.1e}**"
        print(f"| {case} | {kind} | {w.name} | {error} | {w.bound:.0e} | {w.native:.9g} | {w.reference:.9g} |")
    print("\n| class | worst feature within the bound, all images | error |\n|---|---|---|")
    for kind, w in within.items():
        print(f"| {kind} | {w.name} | {w.error:.1e} |")
    print(f"\n{instances} instances (region in one image), {edge} with a voxel on a grey level's edge")


if __name__ == "__main__":
    main()
