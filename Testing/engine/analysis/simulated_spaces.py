"""How much of a bundle's two maps lies on the perivascular spaces of simulated heads, which are known exactly."""

from __future__ import annotations

import time

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter

from cnsifusion.analysis.features import extract_features
from cnsifusion.analysis.heatmap import heat_volume
from cnsifusion.analysis.logmap import log_maps
from cnsifusion.analysis.occlusion import network_maps
from cnsifusion.bundles import Bundle
from cnsifusion.imaging import PreparationSettings
from cnsifusion.radiomics import RadiomicsSettings
from cnsifusion.roi.case import prepare_case
from cnsifusion.roi.instances import make_instances
from cnsifusion.roi.names import PVS_LEFT, PVS_RIGHT
from cnsifusion.roi.patches import PatchSettings, cut_patches
from cnsifusion.simulation import SimulationSettings, simulate_patient

#: No bundle was trained on patients of this and the following seeds.
FIRST_SEED = 7_000_000
_AROUND_MM, _MIDDLE_MM = 1.0, 4.0


def blurred_middle(mask: np.ndarray, sigma: float) -> np.ndarray:
    """A point in the middle of a region of one slice, blurred by ``sigma`` pixels: a map that saw nothing."""
    rows, columns = np.nonzero(mask)
    point = np.zeros(mask.shape)
    point[round(rows.mean()), round(columns.mean())] = 1
    return gaussian_filter(point, sigma)


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
    patches, places = cut_patches(case, instances, PatchSettings(**chosen.patches))
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
                middle[k] += blurred_middle(mask[k], _MIDDLE_MM / patient.volume.spacing[0])
    maps["blurred middle"] = middle
    chance = (truth & region).sum() / region.sum()
    if not 0 < chance < 0.7:
        return None
    inside = {name: picture * region for name, picture in maps.items()}
    return {name: float(p[truth].sum() / max(p.sum(), 1e-12) / chance) for name, p in inside.items()}
