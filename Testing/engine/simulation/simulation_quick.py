"""Settings for quick simulations: one coarse site; anatomy, effects and code path are the real ones."""

from cnsifusion.simulation import SimulationSettings, SiteProtocol

COARSE = SiteProtocol("T", pixel=1.0, acquired_pixel=1.0, slice_thickness=6.0, slice_gap=0.0)


def quick(**changes) -> SimulationSettings:
    return SimulationSettings(**{"sites": (COARSE,), **changes})
