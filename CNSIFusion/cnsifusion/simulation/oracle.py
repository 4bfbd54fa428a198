"""How well an ideal observer who sees the latents without error could tell the classes: the ceiling for any pipeline.

The score is the exact log likelihood ratio of infection given a patient's observable latents, with the hidden causes
(severity, CSF dose, relaxivity ratio, high burden) integrated out under the cohort's own settings. By the lemma of
Neyman and Pearson no score computed from the patient's image can have a higher expected AUC, since the image depends
on the label through these observables alone. Deliberate confounders are left out: they are not disease.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import gammaln, logsumexp
from scipy.stats import binom, norm, rankdata

from cnsifusion.errors import BadInput
from cnsifusion.simulation.latents import burden_probability, centres, infection_csf_effect, responses
from cnsifusion.simulation.settings import SimulationSettings

#: What the oracle sees of a patient (age and site are no evidence; they only set what is normal).
_OBSERVED = (
    "age", "site", "csf_deviation", "count_left", "count_right", "medial_left", "medial_right", "calibre", "halo",
    "edge", "oedema",
)  # fmt: skip
#: Nodes of the midpoint rule over the hidden causes.
_SEVERITY_NODES, _DOSE_NODES, _RATIO_NODES = 24, 24, 12


def log_likelihood_ratio(latents: Sequence[Mapping[str, Any]], settings: SimulationSettings) -> np.ndarray:
    """ln p(observables | infected) - ln p(observables | control), one per patient; 0 where nothing tells."""
    columns = _columns(latents)
    return _csf_evidence(columns, settings) + _region_evidence(columns, settings)


def oracle_auc(latents: Sequence[Mapping[str, Any]], settings: SimulationSettings | None = None) -> float:
    """ROC AUC of log_likelihood_ratio over these patients (``infected`` is the truth; ties count half).

    Raises BadInput unless both classes are present.
    """
    truth = np.array([bool(row["infected"]) for row in latents])
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        raise BadInput("The oracle's AUC needs infected patients and controls.")
    # Rounded so that round-off cannot order patients whose evidence is the same.
    ranks = rankdata(np.round(log_likelihood_ratio(latents, settings or SimulationSettings()), 9))
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _columns(latents: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    return {name: np.array([float(row[name]) for row in latents]) for name in _OBSERVED}


def _midpoints(low: float, high: float, count: int) -> np.ndarray:
    return low + (np.arange(count) + 0.5) / count * (high - low)


def _csf_evidence(columns: dict[str, np.ndarray], settings: SimulationSettings) -> np.ndarray:
    deviation = columns["csf_deviation"]
    result = np.zeros(len(deviation))
    if settings.effect not in ("ventricles", "both"):
        return result
    dose, ratio = np.meshgrid(
        _midpoints(0, 1, _DOSE_NODES), _midpoints(*settings.csf_r2_to_r1, _RATIO_NODES), indexing="ij"
    )
    none = settings.csf_no_effect_fraction
    for number, site in enumerate(settings.sites):
        here = columns["site"] == number
        effects = infection_csf_effect(dose, ratio, site, settings).ravel()
        x = deviation[here, None]
        control = norm.logpdf(x[:, 0], 0, settings.csf_variation)
        with np.errstate(divide="ignore"):
            mixed = logsumexp(norm.logpdf(x, effects, settings.csf_variation), axis=1) - np.log(effects.size)
            result[here] = np.logaddexp(np.log(none) + control, np.log1p(-none) + mixed) - control
    return result


def _region_evidence(columns: dict[str, np.ndarray], settings: SimulationSettings) -> np.ndarray:
    if settings.effect not in ("sublentiform", "both"):
        return np.zeros(len(columns["age"]))
    nodes = np.concatenate([[0.0], _midpoints(*settings.severity, _SEVERITY_NODES)])
    none = settings.no_effect_fraction
    weights = np.concatenate([[none], np.full(_SEVERITY_NODES, (1 - none) / _SEVERITY_NODES)])
    burden = burden_probability(columns["age"], settings)
    parts = []
    with np.errstate(divide="ignore"):
        for high, probability in ((0, 1 - burden), (1, burden)):
            density = np.stack([_region_density(columns, high, s, settings) for s in nodes], axis=1)
            parts.append(np.log(probability)[:, None] + density)
        given = np.logaddexp(*parts)
        infected = logsumexp(given + np.log(weights), axis=1)
    return infected - given[:, 0]


def _region_density(
    columns: dict[str, np.ndarray], burden: int, severity: float, settings: SimulationSettings
) -> np.ndarray:
    """ln p(region B's observables | age, burden, severity)."""
    base, add = centres(columns["age"], burden, settings), responses(severity, settings)
    total = np.zeros(len(columns["age"]))
    for side in ("left", "right"):
        count, medial = columns[f"count_{side}"], columns[f"medial_{side}"]
        total += _count_density(count, base["count"], float(add["added"]), settings.pvs_count_added)
        total += binom.logpmf(medial, count, 0.5 + float(add["medial"]))
    seen = columns["count_left"] + columns["count_right"] > 0  # without a focus, neither calibre nor halo shows
    calibre = norm.logpdf(columns["calibre"], base["calibre"] + add["calibre"], settings.pvs_calibre_sd)
    total += np.where(seen, calibre, 0.0)
    total += np.where(seen, _lognormal(columns["halo"], base["halo"] + add["halo"], settings.halo_spread), 0.0)
    total += _lognormal(columns["edge"], base["edge"] + add["edge"], settings.edge_spread)
    return total + _lognormal(columns["oedema"], base["oedema"] + add["oedema"], settings.oedema_spread)


def _lognormal(x: np.ndarray, median: np.ndarray, spread: float) -> np.ndarray:
    return norm.logpdf(np.log(x), np.log(median), spread)


def _count_density(count: np.ndarray, mean: np.ndarray, added: float, most: int) -> np.ndarray:
    """ln p of a Poisson count plus a binomial (most, added) one."""
    terms = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for extra in range(most + 1):
            rest = count - extra
            poisson = rest * np.log(mean) - mean - gammaln(np.maximum(rest, 0) + 1)
            terms.append(np.where(rest >= 0, poisson + binom.logpmf(extra, most, added), -np.inf))
    return logsumexp(terms, axis=0)
