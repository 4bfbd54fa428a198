"""A cohort made of numbers, not images: cached cases with a planted effect, so that training is tested in seconds."""

from __future__ import annotations

import json

import numpy as np

from cnsifusion.radiomics import RadiomicsSettings
from cnsifusion.training.cases import QUANTITIES
from cnsifusion.training.cohort import Cohort


def make_cohort(folder, patients=24, effect=1.5, spot=1.5, seed=0, instances=3, features=20, pixels=32):
    """``effect`` (SD) is planted in feature 3, ``spot`` brightens a blob inside the region of each patch.

    ``instances`` is a number for all patients or one for each.
    """
    random = np.random.default_rng(seed)
    labels = np.arange(patients) % 2
    counts = np.broadcast_to(instances, patients)
    owner = np.repeat(np.arange(patients), counts)
    person = random.normal(size=(patients, features))[owner]
    values = person + 0.3 * random.normal(size=(len(owner), features))
    values[:, 3] += effect * labels[owner]
    altered = values + 0.1 * random.normal(size=(3, *values.shape))
    altered[:, :, 5] = random.normal(size=altered.shape[:2])  # feature 5 is unstable
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    rows, columns = np.mgrid[:pixels, :pixels]
    blob = np.exp(-((rows - 16) ** 2 + (columns - 18) ** 2) / 8.0)
    region = ((rows - 16) ** 2 + (columns - 16) ** 2 < 100).astype(np.float32)
    for p in range(patients):
        patches = np.zeros((counts[p], 2, pixels, pixels), np.float32)
        patches[:, 0] = random.normal(0, 0.2, patches[:, 0].shape) + spot * labels[p] * blob
        patches[:, 1] = region
        path = folder / f"case{p}.npz"
        np.savez(path, patches=patches.astype(np.float16), side=np.array(["left"] * counts[p]))
        paths.append(str(path))
    keys = np.array([f"sublentiform|left|{n}" for count in counts for n in range(count)])
    names = [f"log-sigma-{n % 5}-0-mm-2D_firstorder_F{n}" for n in range(features)]
    quantities = np.abs(random.normal(1, 0.1, (patients, len(QUANTITIES))))
    return Cohort(
        patient_ids=np.array([f"p{p}" for p in range(patients)]),
        labels=labels,
        patient=owner,
        keys=keys,
        part=np.array(["sublentiform"] * len(owner)),
        side=np.array(["left"] * len(owner)),
        names=np.array(names),
        features=values,
        altered=altered,
        quantities=quantities,
        age=random.uniform(20, 80, patients),
        male=random.integers(0, 2, patients).astype(float),
        site=np.array(["A"] * patients),
        cases=np.array(paths),
        settings=json.dumps(RadiomicsSettings(log_mode="2D").to_dict()),
        key=f"test-{seed}-{patients}-{effect}-{spot}",
    )
