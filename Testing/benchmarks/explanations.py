#!/usr/bin/env python3
"""What the shipped bundle's two maps point to, on simulated heads whose perivascular spaces are known exactly.

For infected patients of a seed that no bundle was trained on: the share of a map's mass inside the regions that lies on
true perivascular spaces (with 1 mm around), divided by their share of the area (chance, 1.00) and set beside a blurred
middle of the region. Seconds are this process's CPU time. Prints; judges nothing.

python Testing/benchmarks/explanations.py [PATIENTS]
"""

from __future__ import annotations

import sys
import time
from dataclasses import fields

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.stats import wilcoxon

from cnsifusion.analysis.features import extract_features
from cnsifusion.analysis.heatmap import heat_volume
from cnsifusion.analysis.logmap import log_maps
from cnsifusion.analysis.occlusion import network_maps
from cnsifusion.bundles import Bundle, default_bundle_dir, load_bundle
from cnsifusion.imaging import PreparationSettings
from cnsifusion.radiomics import RadiomicsSettings
from cnsifusion.roi.case import prepare_case
from cnsifusion.roi.instances import make_instances
from cnsifusion.roi.names import PVS_LEFT, PVS_RIGHT
from cnsifusion.roi.patches import PatchSettings, cut_patches
from cnsifusion.simulation import SimulationSettings, simulate_patient

FIRST_SEED = 7_000_000
_AROUND_MM, _MIDDLE_MM = 1.0, 4.0


def measure(bundle: Bundle, seed: int, seconds: dict[str, list[float]]) -> dict[str, float] | None:
    """Ratios to chance of one patient; None where the regions hold no perivascular space, or nothing else."""
    patient = simulate_patient(seed, True, SimulationSettings(effect="sublentiform", pattern="fine"), "deep")
    chosen = bundle.settings
    preparation = PreparationSettings(**chosen.preparation)
    case = prepare_case(patient.volume, patient.truth, preparation, placement=patient.placement)
    instances, _ = make_instances(case, chosen.region, chosen.submask)
    if not instances:
        return None
    table = extract_features(case, instances, RadiomicsSettings.from_dict(chosen.radiomics))
    known = {f.name for f in fields(PatchSettings)}
    patches, places = cut_patches(
        case, instances, PatchSettings(**{k: v for k, v in chosen.patches.items() if k in known})
    )
    prediction = bundle.predict(patches, table.values, table.names)
    makers = {
        "LoG map": lambda: log_maps(case, instances, bundle, prediction, table),
        "network": lambda: network_maps(case, instances, patches, places, bundle, prediction, table),
    }
    maps = {}
    for name, make in makers.items():
        start = time.process_time()
        cells = make()
        seconds[name].append(time.process_time() - start)
        if cells:
            maps[name] = heat_volume(case, cells).array
    truth = patient.truth.masks[PVS_LEFT] | patient.truth.masks[PVS_RIGHT]
    around = round(_AROUND_MM / patient.volume.spacing[0])
    truth = np.stack([binary_dilation(k, iterations=around) if k.any() else k for k in truth])
    region = np.zeros(truth.shape, bool)
    middle = np.zeros(truth.shape)
    for name, mask in patient.truth.masks.items():
        if name.startswith("Sub-lentiform"):
            region |= mask
            for k in np.flatnonzero(mask.any(axis=(1, 2))):
                rows, columns = np.nonzero(mask[k])
                point = np.zeros(mask[k].shape)
                point[round(rows.mean()), round(columns.mean())] = 1
                middle[k] += gaussian_filter(point, _MIDDLE_MM / patient.volume.spacing[0])
    maps["blurred middle"] = middle
    chance = (truth & region).sum() / region.sum()
    if not 0 < chance < 0.7:
        return None
    inside = {name: picture * region for name, picture in maps.items()}
    return {name: float(p[truth].sum() / max(p.sum(), 1e-12) / chance) for name, p in inside.items()}


def main() -> None:
    """Print the ratios' means with their standard errors, and how many patients are above the blurred middle."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    bundle = load_bundle(default_bundle_dir())
    seconds: dict[str, list[float]] = {"network": [], "LoG map": []}
    found = [r for n in range(count) if (r := measure(bundle, FIRST_SEED + n, seconds)) is not None]
    print(f"{bundle.settings.name}: {len(found)} of {count} simulated patients with perivascular spaces")
    print("share of the map on true perivascular spaces, as a multiple of chance:")
    for name in found[0]:
        values = np.array([r[name] for r in found])
        line = f"  {name:15} {values.mean():.2f} +- {values.std(ddof=1) / np.sqrt(len(values)):.2f}"
        if name != "blurred middle":
            middle = np.array([r["blurred middle"] for r in found])
            p = {k: wilcoxon(values - other, alternative="greater").pvalue for k, other in
                 (("chance", 1.0), ("middle", middle))}  # fmt: skip
            line += f"   p against chance {p['chance']:.2g}, against the middle {p['middle']:.2g}"
        print(line)
    for name, spent in seconds.items():
        print(f"  CPU s a patient, {name}: median {np.median(spent):.2f}, largest {max(spent):.2f}")


if __name__ == "__main__":
    main()
