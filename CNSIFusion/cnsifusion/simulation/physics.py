"""Signal of a fast spin echo from proton density, T1, T2, TR and TE, and what infection does to cerebrospinal fluid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tissue:
    """Relaxation times in ms at 1.5 and 3 tesla, and proton density relative to water.

    T1 and T2 are rounded from the ranges compiled by Stanisz et al., Magn Reson Med 2005;54:507, and Wansapura et al.,
    J Magn Reson Imaging 1999;9:531; fat's T2 is the longer apparent one of echo trains (Henkelman et al., J Magn Reson
    Imaging 1992;2:533). They set a plausible contrast; no single value is a measurement of ours.
    """

    density: float
    t1_1p5: float
    t1_3: float
    t2_1p5: float
    t2_3: float

    def relaxation(self, field_strength: float) -> tuple[float, float]:
        """(T1, T2) in ms, linear in the field strength between 1.5 and 3 tesla and constant outside."""
        share = float(np.clip((field_strength - 1.5) / 1.5, 0.0, 1.0))
        return (1 - share) * self.t1_1p5 + share * self.t1_3, (1 - share) * self.t2_1p5 + share * self.t2_3


TISSUES = {
    "csf": Tissue(1.00, 4200, 4300, 1900, 1800),
    "white": Tissue(0.70, 650, 850, 78, 71),
    "grey": Tissue(0.82, 1080, 1400, 97, 90),
    "putamen": Tissue(0.80, 950, 1250, 84, 76),
    "pallidum": Tissue(0.76, 800, 1020, 72, 63),
    "lesion": Tissue(0.82, 1000, 1250, 125, 118),
    "choroid": Tissue(0.90, 1600, 1900, 190, 170),
    "fat": Tissue(0.95, 300, 370, 120, 112),
    "marrow": Tissue(0.75, 380, 430, 75, 68),
    "muscle": Tissue(0.75, 950, 1350, 46, 40),
    "vitreous": Tissue(0.98, 3800, 4000, 900, 800),
    "mucosa": Tissue(0.85, 1500, 1800, 150, 135),
    "bone": Tissue(0.06, 600, 600, 30, 30),
}


def spin_echo(density: float, t1: float, t2: float, repetition_time: float, echo_time: float) -> float:
    """Signal PD (1 - exp(-TR/T1)) exp(-TE/T2) of a spin echo at full recovery of the train; all times in ms."""
    return density * (1.0 - np.exp(-repetition_time / t1)) * np.exp(-echo_time / t2)


def tissue_signal(name: str, field_strength: float, repetition_time: float, echo_time: float) -> float:
    """Spin-echo signal of a tissue of TISSUES, relative to free water at full recovery."""
    t1, t2 = TISSUES[name].relaxation(field_strength)
    return float(spin_echo(TISSUES[name].density, t1, t2, repetition_time, echo_time))


def csf_effect(
    r1_increase: np.ndarray | float,
    r2_increase: np.ndarray | float,
    field_strength: float,
    repetition_time: float,
    echo_time: float,
) -> np.ndarray:
    """Relative change of CSF's signal when protein and cells raise its relaxation rates (per second).

    A faster T1 recovery brightens and a faster T2 decay darkens, so the sign follows from TR and TE alone.
    """
    tissue = TISSUES["csf"]
    t1, t2 = tissue.relaxation(field_strength)
    changed_t1 = 1000.0 / (1000.0 / t1 + np.asarray(r1_increase))
    changed_t2 = 1000.0 / (1000.0 / t2 + np.asarray(r2_increase))
    before = spin_echo(tissue.density, t1, t2, repetition_time, echo_time)
    recovery = 1.0 - np.exp(-repetition_time / changed_t1)
    return tissue.density * recovery * np.exp(-echo_time / changed_t2) / before - 1.0
