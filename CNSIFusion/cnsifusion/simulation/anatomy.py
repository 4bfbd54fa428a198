"""One patient's own anatomy and its signal on a thin slice, before any acquisition effect (white matter = 1)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from cnsifusion.roi.template import below_columns, sublentiform_window
from cnsifusion.simulation.head import FIELDS, Head
from cnsifusion.simulation.latents import Latents, age_share
from cnsifusion.simulation.perivascular import Tube, sections
from cnsifusion.simulation.physics import TISSUES, tissue_signal
from cnsifusion.simulation.pose import Pose
from cnsifusion.simulation.settings import SimulationSettings
from cnsifusion.simulation.skull import FACE

#: Box (LPS, mm, aligned head) and step in which region B is worked out.
_BOX_LOW, _BOX_HIGH, BOX_STEP = np.array([-38.0, -16.0, -34.0]), np.array([38.0, 18.0, 14.0]), 1.0


@dataclass(frozen=True)
class Blob:
    """A soft sphere in continuous image indices (i, j, k): ``radius`` in mm, ``kind`` "lesion" or "choroid"."""

    kind: str
    ijk: np.ndarray
    radius: float
    weight: float


@dataclass(eq=False)
class Person:
    """Drawn anatomy beyond the latents. ``signals``: relative to white matter. Lengths in mm.

    ``ventricle_growth``: by how much the ventricular wall moves outward (left, right). ``tissue_level``: parenchymal
    fraction of the template at which this person's surface lies (higher: wider sulci). ``rim``: subarachnoid space
    beyond the brain's hull; ``layers``: depth outside it and signal there.
    """

    signals: dict[str, float]
    csf: float
    ventricle_growth: tuple[float, float]
    tissue_level: float
    rim: float
    layers: tuple[np.ndarray, np.ndarray]
    blobs: list[Blob] = field(default_factory=list)
    tubes: list[Tube] = field(default_factory=list)


def draw_person(
    rng: np.random.Generator, latents: Latents, settings: SimulationSettings, pose: Pose
) -> Person:
    """A person's anatomy and signals under the latents' site; the tubes are added by the caller."""
    site = settings.sites[latents.site]
    share = float(age_share(latents.age, settings))
    timing = (site.field_strength, site.repetition_time, site.echo_time)
    white = tissue_signal("white", *timing)
    signals = {name: tissue_signal(name, *timing) / white for name in TISSUES}
    spread = rng.normal(0, 1, len(TISSUES))
    for (name, value), z in zip(list(signals.items()), spread):
        if name not in ("white", "csf"):
            signals[name] = value * float(np.exp(0.02 * z))
    signals["pallidum"] *= 1 - 0.1 * share  # iron
    signals["putamen"] *= 1 - 0.07 * share
    csf = signals["csf"] * (1 + latents.csf_deviation)
    growth = np.clip(-0.6 + 2.4 * share**1.5 + rng.normal(0, 0.5), -1.2, 3.5)
    asymmetry = rng.normal(0, 0.25)
    person = Person(
        signals,
        csf,
        (float(growth + asymmetry), float(growth - asymmetry)),
        float(np.clip(0.58 + 0.14 * share + rng.normal(0, 0.03), 0.5, 0.8)),
        float(-1.4 + 1.8 * share + rng.normal(0, 0.4)),
        _layers(rng, signals),
    )
    person.blobs = _choroid(rng, pose)
    lesions = _lesions(rng, share, pose)
    if settings.white_matter_lesions:
        person.blobs += lesions
    return person


def _layers(rng: np.random.Generator, signals: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Depth outside the subarachnoid space (mm) and signal there: tables, diploe, galea, fat, skin, air."""
    diploe, fat = rng.uniform(1.8, 4.0), rng.uniform(3.5, 7.5)
    thickness = np.array([1.8, diploe, 1.8, 1.0, fat, 1.6])
    values = [signals["bone"], 0.75 * signals["marrow"], signals["bone"], signals["muscle"], signals["fat"], 0.6]
    edges = np.concatenate([[0], np.cumsum(thickness)])
    depth, signal = [], []
    for start, stop, value in zip(edges[:-1], edges[1:], values):
        depth += [start + 0.3, stop - 0.3]
        signal += [value, value]
    return np.array([*depth, edges[-1] + 0.3]), np.array([*signal, 0.0])


def _choroid(rng: np.random.Generator, pose: Pose) -> list[Blob]:
    """Clumps of choroid plexus in both atria (MNI +-22, -40, 8 and about)."""
    places = np.concatenate([rng.normal((s * 21, 40, 8), (2.5, 5, 4), (7, 3)) for s in (1, -1)])
    return _blobs("choroid", places, rng.uniform(1.2, 2.6, len(places)), rng.uniform(0.4, 0.8, len(places)), pose)


def _lesions(rng: np.random.Generator, share: float, pose: Pose) -> list[Blob]:
    """Age-related white-matter lesions: caps at the horns and scattered foci of the centrum semiovale."""
    draws = rng.standard_normal((30, 3))
    radii, weights = rng.uniform(0.9, 2.6, 30), rng.uniform(0.2, 0.8, 30)
    side = np.where(rng.random(30) < 0.5, 1.0, -1.0)
    count = int(rng.poisson(12 * share**2))
    near_horns = np.arange(30) % 3 == 0
    centres = np.where(near_horns[:, None], (19, -26, 18), (27, 12, 30)) * np.stack([side, side * side, side * side], 1)
    spread = np.where(near_horns[:, None], (3, 4, 4), (4, 22, 6))
    return _blobs("lesion", (centres + draws * spread)[:count], radii[:count], weights[:count], pose)


def _blobs(kind: str, places: np.ndarray, radii: np.ndarray, weights: np.ndarray, pose: Pose) -> list[Blob]:
    if not len(places):
        return []
    ijk = pose.grid.to_ijk(pose.from_template(np.asarray(places, float)))
    return [Blob(kind, p, float(r), float(w)) for p, r, w in zip(ijk, radii, weights)]


@dataclass(frozen=True, eq=False)
class RegionBox:
    """Region B of one patient by the protocol's rule, in the aligned head: bool masks [k, j, i] per side.

    ``positions`` (k, j, i, 3) are aligned LPS mm of the voxels.
    """

    masks: dict[str, np.ndarray]
    positions: np.ndarray

    def halves(self, side: str) -> tuple[np.ndarray, np.ndarray]:
        """Places (n, 3) in the anteromedial and the posterolateral half, 1 mm away from the region's border."""
        mask = self.masks[side]
        inner = ndimage.binary_erosion(mask)
        places = self.positions[inner if inner.sum() > 60 else mask]
        score = np.abs(places[:, 0]) + places[:, 1]  # outward and backward
        return places[score <= np.median(score)], places[score > np.median(score)]

    def sample(self, side: str, aligned: np.ndarray) -> np.ndarray:
        """Linear membership (0-1) at aligned positions (..., 3)."""
        index = (np.moveaxis(aligned, -1, 0) - _BOX_LOW.reshape(3, *[1] * (aligned.ndim - 1))) / BOX_STEP
        mask = self.masks[side].astype(np.float32)
        return ndimage.map_coordinates(mask, index[::-1], order=1, mode="constant")


def region_box(head: Head, pose: Pose, person: Person) -> RegionBox:
    """Region B from the patient's true lentiform nucleus: 10 mm straight down, without fluid and vessels."""
    axes = [np.arange(low, high + 1e-6, BOX_STEP) for low, high in zip(_BOX_LOW, _BOX_HIGH)]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    positions = np.stack([x, y, z], axis=-1)
    template = pose.to_template(pose.tilt(positions.reshape(-1, 3)))
    values = dict(zip(FIELDS, head.sample(head.grid.to_ijk(template)).T.reshape(len(FIELDS), *x.shape)))
    lentiform = (values["putamen"] > 0) | (values["pallidum"] > 0)
    tx, ty, tz = template.T.reshape(3, *x.shape)
    region = below_columns(lentiform, round(10 / BOX_STEP)) & sublentiform_window(np.abs(tx), -ty, tz)
    region &= (values["tissue"] > person.tissue_level) & (values["void"] < 0) & (values["ventricle"] < 0)
    region = ndimage.binary_opening(region)
    masks = {}
    for side, here in (("left", tx > 0), ("right", tx <= 0)):
        pieces, _ = ndimage.label(region & here)
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        masks[side] = pieces == int(sizes.argmax())
    return RegionBox(masks, positions)


@dataclass(eq=False)
class ThinSlice:
    """Signal and true coverages (0-1), [j, i], float32, of one thin slice within ``window`` of the image's pixels."""

    window: tuple[slice, slice]
    signal: np.ndarray
    coverage: dict[str, np.ndarray]


def render(head: Head, pose: Pose, person: Person, latents: Latents, k: float, texture: np.ndarray) -> ThinSlice:
    """The thin slice at continuous slice index ``k``; ``texture`` is standard normal noise on the half-size lattice."""
    columns, rows, _ = pose.grid.size
    lattice_i, lattice_j = (np.arange(-2, n + 3, 2) for n in (columns, rows))
    where = pose.block(lattice_i, lattice_j, np.array([k]))[0]
    top, left, where = _crop_to_head(head, where)
    shape = where.shape[:2]
    index = (where.reshape(-1, 3) - np.array(head.grid.origin, np.float32)) / np.array(head.grid.spacing, np.float32)
    coarse = dict(zip(FIELDS, head.sample(index).T.reshape(len(FIELDS), *shape)))
    # Texture stays where it is drawn: a slow, weak variation of parenchyma.
    coarse["texture"] = ndimage.gaussian_filter(texture[top : top + shape[0], left : left + shape[1]], 1.2)
    growth = np.where(where[..., 0] > 0, *person.ventricle_growth).astype(np.float32)
    coarse["ventricle"] = coarse["ventricle"] + ndimage.gaussian_filter(growth, 2)
    quiet = {"putamen": -6.0, "pallidum": -6.0, "zone": 0.01, "iron": 0.01}
    fine = {n: _double(v) for n, v in coarse.items() if v.max() > quiet.get(n, -np.inf)}
    pixel = pose.grid.spacing[0]

    coverage = {"ventricle": _ramp(fine["ventricle"], pixel)}
    parenchyma = _parenchyma(fine, person, latents, pixel, coverage)
    corner = (2 * top, 2 * left)
    _add_blobs(parenchyma, corner, None, person, "lesion", pose, k)
    tissue = _ramp(fine["tissue"] - person.tissue_level, 0.3)
    tissue *= 1 - coverage["ventricle"]
    signal = person.csf + tissue * (parenchyma - person.csf)
    _add_blobs(signal, corner, coverage["ventricle"], person, "choroid", pose, k)
    _add_tubes(signal, corner, coverage, person, latents, pose, k)
    signal *= 1 - 0.88 * _ramp(fine["void"], pixel)
    _surround(signal, fine["outside"], head, index, shape, person, pixel)
    window = tuple(slice(a, a + n) for a, n in zip(corner, signal.shape))
    return ThinSlice((window[0], window[1]), signal, coverage)


def _crop_to_head(head: Head, where: np.ndarray) -> tuple[int, int, np.ndarray]:
    """The part of a lattice of template positions [j, i, 3] that may hold signal, and where it begins."""
    sparse = where[::4, ::4]
    index = sparse.reshape(-1, 3) - np.array(head.grid.origin, np.float32)
    near = head.nearest(head.near, index).reshape(sparse.shape[:2])
    spans = []
    for axis in (0, 1):
        hit = 4 * np.flatnonzero(near.any(axis=1 - axis))
        low, high = (int(hit[0]), int(hit[-1])) if len(hit) else (0, 0)
        start = min(max(low - 6, 0), where.shape[axis] - 4)
        spans.append(slice(start, max(high + 7, start + 4)))
    return spans[0].start, spans[1].start, where[spans[0], spans[1]]


def _parenchyma(
    fine: dict[str, np.ndarray], person: Person, latents: Latents, pixel: float, coverage: dict[str, np.ndarray]
) -> np.ndarray:
    signals, zone = person.signals, fine.get("zone")
    wider = 1.0 if zone is None else 1.0 + (latents.edge - 1.0) * zone
    white = _ramp(fine["white"] - 0.5, 0.45 * wider)
    result = signals["grey"] + white * (1.0 - signals["grey"])
    for name in ("putamen", "pallidum"):
        if name in fine:
            coverage[name] = _ramp(fine[name], pixel)
            result += _ramp(fine[name], 1.2 * wider) * (signals[name] - result)
    if "iron" in fine:
        result *= 1 - 0.28 * fine["iron"]
    if zone is not None:
        result *= 1 + latents.oedema * zone
    result *= 1 + 0.03 * fine["texture"]
    return result


def _ramp(level: np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """Coverage of a half-space at signed ``level``, averaged over a box of ``width``."""
    return np.clip(level / width + np.float32(0.5), 0, 1)


def _add_blobs(
    target: np.ndarray, corner: tuple[int, int], within: np.ndarray | None, person: Person, kind: str, pose: Pose,
    k: float,
) -> None:  # fmt: skip
    """Mix blobs into ``target``, whose first pixel is the image's pixel ``corner`` (j, i), in place."""
    pixel, thick = pose.grid.spacing[0], pose.grid.spacing[2]
    for blob in person.blobs:
        up = (k - blob.ijk[2]) * thick
        if blob.kind != kind or abs(up) > 2 * blob.radius:
            continue
        reach = int(2 * blob.radius / pixel) + 1
        at_i, at_j = blob.ijk[0] - corner[1], blob.ijk[1] - corner[0]
        i, j = round(at_i), round(at_j)
        rows = slice(max(j - reach, 0), max(j + reach + 1, 0))
        columns = slice(max(i - reach, 0), max(i + reach + 1, 0))
        part = target[rows, columns]
        if not part.size:
            continue
        y = (np.arange(part.shape[0])[:, None] + rows.start - at_j) * pixel
        x = (np.arange(part.shape[1]) + columns.start - at_i) * pixel
        weight = blob.weight * np.exp(-0.5 * (x**2 + y**2 + up**2) / (0.7 * blob.radius) ** 2)
        if within is not None:
            weight = weight * within[rows, columns]
        part += (weight * (person.signals[kind] - part)).astype(np.float32)


def _add_tubes(
    signal: np.ndarray, corner: tuple[int, int], coverage: dict[str, np.ndarray], person: Person, latents: Latents,
    pose: Pose, k: float,
) -> None:  # fmt: skip
    for section in sections(person.tubes, pose, k):
        window = tuple(slice(s.start - a, s.stop - a) for s, a in zip(section.window, corner))
        part = signal[window]
        part *= 1 + latents.halo * section.halo
        part += section.cover * (person.csf - part)
        name = f"pvs_{person.tubes[section.tube].side}"
        if name not in coverage:
            coverage[name] = np.zeros_like(signal)
        np.maximum(coverage[name][window], section.cover, out=coverage[name][window])


def _surround(
    signal: np.ndarray, outside: np.ndarray, head: Head, index: np.ndarray, shape: tuple[int, int], person: Person,
    pixel: float,
) -> None:  # fmt: skip
    """Put skull, scalp and face around the intracranial signal, in place."""
    depth = outside - person.rim
    around = np.flatnonzero(depth.ravel() > -pixel)
    values = np.interp(depth.ravel()[around], *person.layers).astype(np.float32)
    labels = head.nearest(head.face, index)
    if labels.any():
        table = np.array([0.0] + [person.signals.get(name, 0.0) for name in FACE], np.float32)
        face = _double(ndimage.gaussian_filter(table[labels].reshape(shape), 0.5)).ravel()[around]
        present = _double((labels > 0).astype(np.float32).reshape(shape)).ravel()[around] > 0.5
        values = np.where(present, np.maximum(face, 0), values)
    inner = _ramp(-depth.ravel()[around], pixel)
    flat = signal.reshape(-1)
    flat[around] = inner * flat[around] + (1 - inner) * values


def _double(coarse: np.ndarray) -> np.ndarray:
    """Cubic (4-point) interpolation of a lattice at indices -2, 0, 2 ... n+2 to all indices 0 ... n-1, both axes."""
    for axis in (0, 1):
        a = np.moveaxis(coarse, axis, 0)
        even = a[1:-2]
        odd = (even + a[2:-1]) * np.float32(9 / 16) - (a[:-3] + a[3:]) * np.float32(1 / 16)
        both = np.empty((2 * len(even), *a.shape[1:]), np.float32)
        both[0::2], both[1::2] = even, odd
        coarse = np.moveaxis(both, 0, axis)
    return np.ascontiguousarray(coarse)
