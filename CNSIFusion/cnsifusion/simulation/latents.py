"""What a simulated patient is before being imaged: hidden causes, observable anatomy and the acquisition.

Both classes take the same draws in the same order; the label only enters through ``severity`` and ``csf_dose`` (and, if
asked for, through the confounders). So with ``effect="none"`` the same seed gives the same patient for either label.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from cnsifusion.simulation.physics import csf_effect
from cnsifusion.simulation.settings import SimulationSettings, SiteProtocol

#: Most foci a side may hold; positions are drawn for all of them so that adding one moves no other.
MAX_FOCI = 14


@dataclass(frozen=True)
class Latents:
    """One patient. ``severity`` (0-1) and ``csf_dose`` (0-1) are hidden causes; the rest is what an image could show.

    ``csf_deviation``: relative deviation of CSF's signal from its nominal one (person plus infection), of which
    ``csf_effect`` is infection's share. ``count_*``: foci per side, ``medial_*`` those of them in the anteromedial half
    of region B. ``calibre``: mean focus diameter (mm). ``halo``: relative signal rise 1-2 mm around foci. ``edge``:
    width of the grey-white edge in region B relative to normal. ``oedema``: relative signal rise of region B.
    """

    seed: int
    infected: bool
    age: float
    sex: str
    site: int
    high_burden: bool
    severity: float
    csf_dose: float
    csf_r2_to_r1: float
    csf_effect: float
    csf_deviation: float
    count_left: int
    count_right: int
    medial_left: int
    medial_right: int
    calibre: float
    halo: float
    edge: float
    oedema: float
    noise_factor: float
    sharpness_factor: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


def age_share(age: np.ndarray | float, settings: SimulationSettings) -> np.ndarray:
    """Where an age stands in the cohort's range, 0 (youngest) to 1 (oldest)."""
    low, high = settings.age
    return np.clip((np.asarray(age, float) - low) / max(high - low, 1e-9), 0.0, 1.0)


def burden_probability(age: np.ndarray | float, settings: SimulationSettings) -> np.ndarray:
    """Probability of a high perivascular burden, rising linearly with age, ``high_burden_fraction`` on average."""
    return 2.0 * settings.high_burden_fraction * age_share(age, settings)


def responses(severity: np.ndarray | float, settings: SimulationSettings) -> dict[str, np.ndarray]:
    """What severity (already times strength) adds in region B under the chosen pattern.

    ``added``: probability that each of ``pvs_count_added`` extra foci is there; ``calibre`` (mm), ``halo``, ``edge``
    and ``oedema``: added to their centres; ``medial``: added to the probability 1/2 that a focus stands anteromedially.
    """
    s = np.asarray(severity, float) * settings.strength
    zero = np.zeros_like(s)
    fine, coarse, spatial = (s if settings.pattern == p else zero for p in ("fine", "coarse", "spatial"))
    return {
        "added": np.clip(fine, 0, 1),
        "calibre": settings.pvs_calibre_added * fine,
        "halo": settings.halo_added * fine,
        "edge": settings.edge_added * fine,
        "oedema": settings.oedema_added * coarse,
        "medial": np.clip(0.5 * spatial, 0, 0.5),
    }


def centres(age: np.ndarray | float, burden: np.ndarray | float, settings: SimulationSettings) -> dict[str, np.ndarray]:
    """Centres of the observables without infection: Poisson mean ``count``, mean ``calibre``, medians of the rest."""
    share, burden = age_share(age, settings), np.asarray(burden, float)
    mean = settings.pvs_count_spatial if settings.pattern == "spatial" else settings.pvs_count
    return {
        "count": mean * (0.6 + 0.8 * share) + settings.pvs_count_burden * burden,
        "calibre": settings.pvs_calibre + 0.12 * (share - 0.5) + settings.pvs_calibre_burden * burden,
        "halo": settings.halo * (0.7 + 0.6 * share + 0.8 * burden),
        "edge": 1.0 + 0.2 * share,
        "oedema": settings.oedema * (0.8 + 0.4 * share),
    }


def infection_csf_effect(
    dose: np.ndarray | float, r2_to_r1: np.ndarray | float, site: SiteProtocol, settings: SimulationSettings
) -> np.ndarray:
    """CSF's relative signal change for a dose (0-1), bounded to the settings' range (see physics.csf_effect)."""
    r1 = np.asarray(dose, float) * settings.csf_r1_increase * settings.strength
    effect = csf_effect(r1, r1 * r2_to_r1, site.field_strength, site.repetition_time, site.echo_time)
    return np.clip(effect, *settings.csf_effect)


def draw_latents(seed: int, infected: bool, settings: SimulationSettings) -> Latents:
    """Draw one patient's latents; they depend on ``seed``, ``infected`` and ``settings`` alone."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    # One fixed vector of uniforms: no branch may change which draw feeds which latent.
    u = rng.random(16)
    foci = rng.random((2, 1 + settings.pvs_count_added))
    medial = rng.random((2, MAX_FOCI))
    linked = infected * settings.confounder_strength
    shift = {name: linked * (name in settings.confounders) for name in ("noise", "sharpness", "site", "age")}

    low, high = settings.age
    age = float(np.clip(low + u[0] * (high - low) + 12.0 * shift["age"], low, high))
    burden = bool(u[1] < burden_probability(age, settings))
    severity = _severity(u[2], u[3], settings.no_effect_fraction, settings.severity)
    dose = _severity(u[4], u[5], settings.csf_no_effect_fraction, (0.0, 1.0))
    severity *= infected and settings.effect in ("sublentiform", "both")
    dose *= infected and settings.effect in ("ventricles", "both")
    site = int(min(u[6] ** (1.0 + 1.5 * shift["site"]), 1 - 1e-12) * len(settings.sites))
    ratio_low, ratio_high = settings.csf_r2_to_r1
    ratio = ratio_low + u[7] * (ratio_high - ratio_low)
    effect = float(infection_csf_effect(dose, ratio, settings.sites[site], settings))

    base, add = centres(age, burden, settings), responses(severity, settings)
    counts = [_poisson(foci[s, 0], float(base["count"])) + int((foci[s, 1:] < add["added"]).sum()) for s in (0, 1)]
    counts = [min(c, MAX_FOCI) for c in counts]
    medials = [int((medial[s, : counts[s]] < 0.5 + add["medial"]).sum()) for s in (0, 1)]
    return Latents(
        seed=seed,
        infected=bool(infected),
        age=round(age, 1),
        sex="F" if u[8] < 0.5 else "M",
        site=site,
        high_burden=burden,
        severity=float(severity),
        csf_dose=float(dose),
        csf_r2_to_r1=float(ratio),
        csf_effect=effect,
        csf_deviation=effect + settings.csf_variation * _normal(u[9]),
        count_left=counts[0],
        count_right=counts[1],
        medial_left=medials[0],
        medial_right=medials[1],
        calibre=float(base["calibre"] + add["calibre"] + settings.pvs_calibre_sd * _normal(u[10])),
        halo=_lognormal(u[11], float(base["halo"] + add["halo"]), settings.halo_spread),
        edge=_lognormal(u[12], float(base["edge"] + add["edge"]), settings.edge_spread),
        oedema=_lognormal(u[13], float(base["oedema"] + add["oedema"]), settings.oedema_spread),
        noise_factor=float(np.exp(0.15 * _normal(u[14])) * (1.0 + 0.5 * shift["noise"])),
        sharpness_factor=float(np.exp(0.06 * _normal(u[15])) * (1.0 + 0.3 * shift["sharpness"])),
    )


def _severity(u_zero: float, u_size: float, zero_fraction: float, span: tuple[float, float]) -> float:
    return 0.0 if u_zero < zero_fraction else span[0] + u_size * (span[1] - span[0])


def _normal(u: float) -> float:
    """A standard normal by inversion, cut at 2.5 standard deviations so that no patient is absurd."""
    edge = 0.006209665
    return float(ndtri(edge + u * (1 - 2 * edge)))


def _lognormal(u: float, median: float, spread: float) -> float:
    return float(median * np.exp(spread * _normal(u)))


def _poisson(u: float, mean: float) -> int:
    """A Poisson draw by inversion of one uniform."""
    count, term = 0, np.exp(-mean)
    total = term
    while u > total and count < MAX_FOCI:
        count += 1
        term *= mean / count
        total += term
    return count
