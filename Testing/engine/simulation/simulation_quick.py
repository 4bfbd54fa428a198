"""Settings for quick simulations: one coarse site; anatomy, effects and code path are the real ones."""

from cnsifusion.simulation import SimulationSettings, SiteProtocol, draw_latents
from cnsifusion.simulation.cohort import members

COARSE = SiteProtocol("T", pixel=1.0, acquired_pixel=1.0, slice_thickness=6.0, slice_gap=0.0)


def quick(**changes) -> SimulationSettings:
    return SimulationSettings(**{"sites": (COARSE,), **changes})


def draw_cohort(patients: int, controls: int, seed: int, settings: SimulationSettings) -> list[dict]:
    """Latents alone (no images) of the cohort that simulate_cohort would make."""
    return [draw_latents(m.seed, m.infected, settings).to_dict() for m in members(patients, controls, seed)]
