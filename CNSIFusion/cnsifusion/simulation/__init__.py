"""Simulated patients with known truth (protocol: physics, not stamps). Nothing here comes from a real patient."""

from cnsifusion.simulation.cohort import simulate_cohort
from cnsifusion.simulation.latents import Latents, draw_latents
from cnsifusion.simulation.oracle import log_likelihood_ratio, oracle_auc
from cnsifusion.simulation.patient import SimulatedPatient, simulate_patient
from cnsifusion.simulation.settings import SimulationSettings, SiteProtocol

__all__ = [
    "Latents", "SimulatedPatient", "SimulationSettings", "SiteProtocol", "draw_latents",
    "log_likelihood_ratio", "oracle_auc", "simulate_cohort", "simulate_patient",
]  # fmt: skip
