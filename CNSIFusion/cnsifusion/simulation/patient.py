"""One simulated patient: latents -> anatomy -> thin slices -> slices -> stored image, with the truth beside it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from cnsifusion.imaging.grid import Grid, snap, triple
from cnsifusion.imaging.volume import Acquisition, Volume
from cnsifusion.roi.names import PVS_LEFT, PVS_RIGHT, SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT, VENTRICLES
from cnsifusion.roi.placement import Placement
from cnsifusion.roi.regions import Focus, Plane, RegionSet
from cnsifusion.simulation.acquisition import acquire, coil_shading
from cnsifusion.simulation.anatomy import Person, RegionBox, draw_person, region_box, render
from cnsifusion.simulation.head import Head, load_head
from cnsifusion.simulation.latents import Latents, draw_latents
from cnsifusion.simulation.perivascular import draw_tubes
from cnsifusion.simulation.pose import Pose, deep_box, draw_pose
from cnsifusion.simulation.settings import SimulationSettings

#: Greatest distance (mm) between the thin slices that make up one slice.
_THIN = 1.35


@dataclass(eq=False)
class SimulatedPatient:
    """``volume``: the stored image (canonical grid, float32 holding uint16 values). ``truth``: exact regions (at least
    half a voxel's volume). ``latents``: see latents.Latents, by name. ``structures``: further true masks [k, j, i] by
    name: putamen_left, putamen_right, pallidum_left, pallidum_right.
    ``placement``: where the template truly lies in this head.
    """

    volume: Volume
    truth: RegionSet
    latents: dict
    placement: Placement
    structures: dict[str, np.ndarray] = field(default_factory=dict)


def simulate_patient(
    seed: int, infected: bool, settings: SimulationSettings | None = None, view: str = "head"
) -> SimulatedPatient:
    """Simulate one patient; the result depends on the arguments alone. Takes two seconds of CPU.

    ``view`` "deep" images the same head only around region B (a tenth of the voxels and of the time): same latents,
    anatomy, pose and coil shading, another draw of texture and noise. Such an image can only be used together with its
    ``placement``.
    """
    settings = settings or SimulationSettings()
    latents = draw_latents(seed, infected, settings)
    # Independent streams: a further draw in one stage must not shift the others.
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence([seed, 2]).spawn(5)]
    site = settings.sites[latents.site]
    head = load_head()
    pose = draw_pose(streams[0], site, settings.max_tilt, latents.sex == "M")
    shading = coil_shading(streams[4], pose.grid, site.bias)
    if view == "deep":
        box = deep_box(pose)
        pose = replace(pose, grid=snap(pose.grid.cropped(box)))
        shading = [factor[part] for factor, part in zip(shading, box)]
    person = draw_person(streams[1], latents, settings, pose)
    region = region_box(head, pose, person)
    person.tubes = draw_tubes(streams[2], latents, {s: region.halves(s) for s in ("left", "right")}, pose)
    ideal, coverage = _slices(head, pose, person, latents, region, site.slice_thickness, streams[3])
    noise = site.noise * latents.noise_factor
    acquired = max(site.acquired_pixel * latents.sharpness_factor, site.pixel)
    stored = acquire(ideal, shading, site, noise, acquired, streams[4])
    acquisition = Acquisition(
        repetition_time=site.repetition_time, echo_time=site.echo_time, field_strength=site.field_strength,
        acquired_pixel_mm=round(acquired, 3), patient_age_years=latents.age,
    )  # fmt: skip
    left = _left_of_midplane(pose)
    structures = {}
    for name in ("putamen", "pallidum"):
        structures[f"{name}_left"] = (coverage[name] >= 0.5) & left
        structures[f"{name}_right"] = (coverage[name] >= 0.5) & ~left
    truth = _truth(head, pose, person, coverage, noise)
    return SimulatedPatient(
        Volume(stored, pose.grid, acquisition=acquisition), truth, latents.to_dict(), _placement(pose), structures
    )


_COVERED = (
    "ventricle", "putamen", "pallidum", "pvs_left", "pvs_right", "sublentiform_left", "sublentiform_right",
)  # fmt: skip


def _slices(
    head: Head, pose: Pose, person: Person, latents: Latents, box: RegionBox, thickness: float, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Ideal image and true coverages, averaged over each slice's thickness (a box profile)."""
    grid = pose.grid
    thin = int(np.ceil(thickness / _THIN))
    offsets = ((np.arange(thin) + 0.5) / thin - 0.5) * thickness / grid.spacing[2]
    ideal = np.zeros(grid.shape, np.float32)
    coverage = {name: np.zeros(grid.shape, np.float32) for name in _COVERED}
    lattice = (grid.size[1] // 2 + 3, grid.size[0] // 2 + 3)
    for k in range(grid.size[2]):
        for offset in offsets:
            texture = rng.standard_normal(lattice, dtype=np.float32)
            one = render(head, pose, person, latents, k + offset, texture)
            ideal[k][one.window] += one.signal
            for name, cover in one.coverage.items():
                coverage[name][k][one.window] += cover
            _add_region(coverage, box, pose, k, k + offset)
    ideal /= thin
    for cover in coverage.values():
        cover /= thin
    return ideal, coverage


def _add_region(coverage: dict[str, np.ndarray], box: RegionBox, pose: Pose, k: int, at: float) -> None:
    """Add region B's coverage of one thin slice where the slice meets the region's box."""
    for side in ("left", "right"):
        corners = box.positions[box.masks[side]]
        if not len(corners):
            continue
        index = pose.grid.to_ijk(pose.tilt(corners))
        near = np.abs(index[:, 2] - at) * pose.grid.spacing[2] < 1.5
        if not near.any():
            continue
        low = np.maximum(np.floor(index[near, :2].min(0)) - 3, 0).astype(int)
        high = np.minimum(np.ceil(index[near, :2].max(0)) + 4, pose.grid.size[:2]).astype(int)
        i, j = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
        lps = pose.grid.to_lps(np.stack([i, j, np.full(i.shape, at)], axis=-1))
        target = coverage[f"sublentiform_{side}"][k, low[1] : high[1], low[0] : high[0]]
        target += box.sample(side, pose.straighten(lps)).astype(np.float32)


def _left_of_midplane(pose: Pose) -> np.ndarray:
    k, j, i = (np.arange(n, dtype=float) for n in pose.grid.shape)
    return pose.block(i, j, k)[..., 0] > 0


def _truth(
    head: Head, pose: Pose, person: Person, coverage: dict[str, np.ndarray], noise: float
) -> RegionSet:
    grid = pose.grid
    ventricle = coverage["ventricle"] >= 0.5
    kji = np.argwhere(ventricle)
    parts = np.zeros(grid.shape, np.uint8)
    place = pose.to_template(grid.to_lps(kji[:, ::-1]))
    parts[tuple(kji.T)] = np.maximum(head.nearest(head.parts, head.grid.to_ijk(place)), 1)
    masks = {
        VENTRICLES: ventricle,
        SUBLENTIFORM_LEFT: coverage["sublentiform_left"] >= 0.5,
        SUBLENTIFORM_RIGHT: coverage["sublentiform_right"] >= 0.5,
        PVS_LEFT: coverage["pvs_left"] >= 0.5,
        PVS_RIGHT: coverage["pvs_right"] >= 0.5,
    }
    return RegionSet(
        grid,
        masks,
        parts,
        _midplane(pose),
        _foci(person, coverage, grid, noise),
        origin=dict.fromkeys(masks, "automatic"),
        notes=["Exact truth of a simulated patient."],
    )


def _midplane(pose: Pose) -> Plane:
    return Plane(triple(pose.centre), triple(pose.head[:, 0]))


def _placement(pose: Pose) -> Placement:
    affine, warp = pose.placement()
    return Placement(affine, warp, _midplane(pose))


def _foci(person: Person, coverage: dict[str, np.ndarray], grid: Grid, noise: float) -> list[Focus]:
    """Every tube with its true diameter; contrast to noise is that of its fullest voxel against grey matter."""
    foci = []
    for tube in person.tubes:
        i, j, k = np.rint(tube.points).astype(int).T
        inside = (k >= 0) & (k < grid.size[2])
        cover = coverage[f"pvs_{tube.side}"]
        best = int(np.argmax(np.where(inside, cover[np.clip(k, 0, grid.size[2] - 1), j, i], -1)))
        ijk = (int(i[best]), int(j[best]), int(k[best]))
        window = tuple(slice(max(v - 6, 0), v + 7) for v in (ijk[1], ijk[0]))
        near = np.argwhere(cover[ijk[2]][window] >= 0.5) + np.array([window[0].start, window[1].start])
        voxels = np.column_stack([np.full(len(near), ijk[2]), near]) if len(near) else np.array([ijk[::-1]])
        contrast = float(cover[ijk[2], ijk[1], ijk[0]]) * (person.csf - person.signals["grey"]) / max(noise, 1e-6)
        diameter = float(2 * tube.radius.max())
        foci.append(Focus(tube.side, ijk, triple(tube.lps[best]), diameter, contrast, 1.0, diameter > 3.0, voxels))
    return foci
