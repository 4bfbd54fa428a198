"""Every choice of the simulated cohort, typed and validated. The ranges are priors of this project, not findings."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from cnsifusion.errors import BadInput

EFFECTS = ("none", "sublentiform", "ventricles", "both")
PATTERNS = ("fine", "coarse", "spatial")
CONFOUNDERS = ("noise", "sharpness", "site", "age")


@dataclass(frozen=True)
class SiteProtocol:
    """One scanner and its axial T2 FSE protocol. Times in ms, lengths in mm, field strength in tesla.

    ``noise`` is the standard deviation of each complex channel as a fraction of white matter's signal;
    ``bias`` the peak-to-peak coil shading as a fraction; ``intensity_scale`` the stored value of white matter;
    ``filter_taper`` the tapered part (0-1) of the k-space window.
    """

    name: str
    field_strength: float = 3.0
    repetition_time: float = 4500.0
    echo_time: float = 95.0
    pixel: float = 0.55
    acquired_pixel: float = 0.7
    slice_thickness: float = 5.0
    slice_gap: float = 0.5
    noise: float = 0.03
    bias: float = 0.3
    intensity_scale: float = 300.0
    filter_taper: float = 0.4

    def problems(self) -> list[str]:
        """What is out of range, one sentence each."""
        limits = {
            "field_strength": (0.2, 11.0), "repetition_time": (1500, 20000), "echo_time": (10, 400),
            "pixel": (0.3, 1.2), "acquired_pixel": (0.3, 1.6), "slice_thickness": (1.0, 8.0), "slice_gap": (0.0, 3.0),
            "noise": (0.0, 0.3), "bias": (0.0, 1.0), "intensity_scale": (20.0, 10000.0), "filter_taper": (0.0, 1.0),
        }  # fmt: skip
        found = [_out_of_range(f"site {self.name}: {k}", getattr(self, k), *v) for k, v in limits.items()]
        if self.acquired_pixel < self.pixel:
            found.append(f"site {self.name}: acquired_pixel must not be smaller than pixel")
        return [p for p in found if p]


DEFAULT_SITES = (
    SiteProtocol("A"),
    SiteProtocol(
        "B", field_strength=1.5, repetition_time=3800, echo_time=102, pixel=0.6, acquired_pixel=0.8,
        slice_thickness=5.0, slice_gap=1.0, noise=0.045, bias=0.2, intensity_scale=520, filter_taper=0.25,
    ),
    SiteProtocol(
        "C", field_strength=3.0, repetition_time=6000, echo_time=85, pixel=0.5, acquired_pixel=0.65,
        slice_thickness=4.0, slice_gap=0.4, noise=0.035, bias=0.4, intensity_scale=160, filter_taper=0.6,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class SimulationSettings:
    """How simulated patients are drawn and imaged.

    ``effect`` says where infection acts: ``sublentiform`` (region B), ``ventricles`` (all CSF: ventricles, cisterns
    and perivascular spaces alike, since it is one fluid), ``both`` or ``none``. ``pattern`` says what it does in region
    B: ``fine`` (calibre, count, halo, edge), ``coarse`` (a smooth swelling-like signal rise) or ``spatial`` (only where
    the foci stand). ``strength`` multiplies every response to infection; 0 is no effect, 1 the protocol's ranges.

    Fractions are of patients unless said otherwise; pairs are (low, high). ``confounders`` links acquisition or age
    with the label, without disease; ``confounder_strength`` 1 is a plain link, 0 none.
    """

    effect: str = "both"
    pattern: str = "fine"
    strength: float = 1.0
    # severity
    no_effect_fraction: float = 0.25
    severity: tuple[float, float] = (0.2, 1.0)
    # CSF
    csf_no_effect_fraction: float = 0.4
    csf_effect: tuple[float, float] = (-0.03, 0.08)
    csf_r1_increase: float = 0.032
    csf_r2_to_r1: tuple[float, float] = (2.0, 30.0)
    csf_variation: float = 0.02
    # perivascular spaces of region B, per side
    high_burden_fraction: float = 0.2
    pvs_count: float = 1.6
    pvs_count_spatial: float = 6.0
    pvs_count_burden: float = 3.0
    pvs_count_added: int = 3
    pvs_calibre: float = 1.25
    pvs_calibre_sd: float = 0.14
    pvs_calibre_burden: float = 0.25
    pvs_calibre_added: float = 0.3
    halo: float = 0.008
    halo_spread: float = 0.35
    halo_added: float = 0.026
    edge_added: float = 0.5
    edge_spread: float = 0.3
    oedema: float = 0.012
    oedema_spread: float = 0.5
    oedema_added: float = 0.05
    # people
    age: tuple[float, float] = (20.0, 85.0)
    white_matter_lesions: bool = True
    # acquisition
    sites: tuple[SiteProtocol, ...] = DEFAULT_SITES
    max_tilt: float = 15.0
    # links between label and nuisance
    confounders: tuple[str, ...] = ()
    confounder_strength: float = 1.0

    def __post_init__(self) -> None:
        problems = [p for p in self._problems() if p]
        if problems:
            raise BadInput("The simulation settings cannot be used: " + "; ".join(problems) + ".")

    def _problems(self) -> list[str]:
        found = []
        if self.effect not in EFFECTS:
            found.append(f"effect must be one of {', '.join(EFFECTS)}")
        if self.pattern not in PATTERNS:
            found.append(f"pattern must be one of {', '.join(PATTERNS)}")
        unknown = set(self.confounders) - set(CONFOUNDERS)
        if unknown:
            found.append(f"confounders may be {', '.join(CONFOUNDERS)}")
        for name, (low, high) in _LIMITS.items():
            found.append(_out_of_range(name, getattr(self, name), low, high))
        for name, (low, high) in _PAIR_LIMITS.items():
            pair = getattr(self, name)
            if len(pair) != 2 or not (low <= pair[0] <= pair[1] <= high):
                found.append(f"{name} must be a pair low <= high between {low:g} and {high:g}")
        if not self.sites:
            found.append("at least one site is needed")
        for site in self.sites:
            found.extend(site.problems())
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready values."""
        return asdict(self)


_LIMITS: dict[str, tuple[float, float]] = {
    "strength": (0, 3), "no_effect_fraction": (0, 1), "csf_no_effect_fraction": (0, 1), "csf_r1_increase": (0, 0.2),
    "csf_variation": (0.001, 0.2), "high_burden_fraction": (0, 0.5), "pvs_count": (0, 6), "pvs_count_spatial": (0, 6),
    "pvs_count_burden": (0, 5), "pvs_count_added": (0, 4), "pvs_calibre": (0.5, 2.5), "pvs_calibre_sd": (0.01, 0.5),
    "pvs_calibre_burden": (0, 0.6), "pvs_calibre_added": (0, 1), "halo": (0.0005, 0.1), "halo_spread": (0.05, 2),
    "halo_added": (0, 0.2), "edge_added": (0, 3), "edge_spread": (0.05, 2), "oedema": (0.0005, 0.1),
    "oedema_spread": (0.05, 2), "oedema_added": (0, 0.3), "max_tilt": (0, 25), "confounder_strength": (0, 3),
}  # fmt: skip
_PAIR_LIMITS: dict[str, tuple[float, float]] = {
    "severity": (0, 1), "csf_effect": (-0.5, 0.5), "csf_r2_to_r1": (0, 100), "age": (18, 100),
}  # fmt: skip


def _out_of_range(name: str, value: Any, low: float, high: float) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return f"{name} must be a number"
    return "" if low <= value <= high else f"{name} must lie between {low:g} and {high:g}"
