"""The report's pictures: key slices with contours and heat map, the score on its scale, slice by slice, what drove it.

Drawn with matplotlib's object interface (no pyplot, no display); colours are Okabe and Ito's, readable for
colour-blind people; left of the patient is on the right of the picture (radiological convention).
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cnsifusion.analysis import InstanceResult, PatientResult
from cnsifusion.imaging import Volume
from cnsifusion.roi.names import SEGMENTS
from cnsifusion.roi.regions import RegionSet

BLUE, ORANGE, GREY, DARK = "#0072B2", "#D55E00", "#999999", "#222222"
SIDE_COLOURS = {"left": BLUE, "right": ORANGE, "none": "#009E73"}
_MAX_KEY_SLICES = 4
_FEATURES_SHOWN = 8


def key_slices(result: PatientResult) -> list[int]:
    """Slice indices to show: those of the strongest instances, in slice order."""
    ranked = sorted(result.instances, key=lambda i: -i.log_odds)
    chosen: list[int] = []
    for instance in ranked:
        if instance.slice_index not in chosen:
            chosen.append(instance.slice_index)
    return sorted(chosen[:_MAX_KEY_SLICES])


def key_images(result: PatientResult, volume: Volume, regions: RegionSet, heat: Volume | None) -> Figure:
    """One column per key slice: above the T2 with contours, below the heat map over it."""
    slices = key_slices(result)
    rows = 2 if heat is not None else 1
    figure = Figure(figsize=(2.6 * len(slices), 2.6 * rows + 0.25), facecolor="black")
    axes = figure.subplots(rows, len(slices), squeeze=False)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1 - 0.25 / (2.6 * rows + 0.25), wspace=0.01, hspace=0.01)
    window = _window(volume, regions, slices)
    low, high = np.percentile(volume.array[slices], (2, 99.5))
    for column, k in enumerate(slices):
        for row in range(rows):
            _slice(axes[row, column], volume, k, window, (float(low), float(high)))
        _contours(axes[0, column], regions, k, volume)
        axes[0, column].set_title(f"slice {k + 1}", color="white", fontsize=9, pad=3)
        if heat is not None:
            picture = heat.array[k]
            axes[1, column].imshow(
                np.ma.masked_less(picture, 0.15), cmap="inferno", vmin=0, vmax=1, alpha=0.55,
                extent=_extent(volume), interpolation="nearest",
            )  # fmt: skip
    return figure


def _extent(volume: Volume) -> tuple[float, float, float, float]:
    _, nj, ni = volume.array.shape
    return (0, ni * volume.spacing[0], nj * volume.spacing[1], 0)


def _slice(axes: Axes, volume: Volume, k: int, window: tuple[float, ...], grey: tuple[float, float]) -> None:
    axes.imshow(volume.array[k], cmap="gray", vmin=grey[0], vmax=grey[1], extent=_extent(volume))
    axes.set_xlim(window[0], window[1])
    axes.set_ylim(window[3], window[2])
    axes.axis("off")
    axes.text(0.02, 0.5, "R", color="white", transform=axes.transAxes, fontsize=9, va="center")
    axes.text(0.94, 0.5, "L", color="white", transform=axes.transAxes, fontsize=9, va="center")


def _contours(axes: Axes, regions: RegionSet, k: int, volume: Volume) -> None:
    for name, mask in regions.masks.items():
        if mask[k].any():
            nj, ni = mask[k].shape
            x, y = (np.arange(ni) + 0.5) * volume.spacing[0], (np.arange(nj) + 0.5) * volume.spacing[1]
            axes.contour(x, y, mask[k].astype(float), [0.5], colors=[SEGMENTS[name].color], linewidths=0.9)


def _window(volume: Volume, regions: RegionSet, slices: list[int]) -> tuple[float, float, float, float]:
    """Square field (mm: x0, x1, y0, y1) around the regions on the key slices, with room to recognise the anatomy."""
    _, height, width = volume.grid.shape
    together = np.zeros((height, width), bool)
    for mask in regions.masks.values():
        together |= mask[slices].any(axis=0)
    rows, columns = np.nonzero(together)
    if not rows.size:
        rows, columns = np.array([0, height]), np.array([0, width])
    x, y = (columns.min() + columns.max()) / 2 * volume.spacing[0], (rows.min() + rows.max()) / 2 * volume.spacing[1]
    half = max(50.0, np.ptp(columns) * volume.spacing[0] / 2 + 10, np.ptp(rows) * volume.spacing[1] / 2 + 10)
    return (x - half, x + half, y - half, y + half)


def draw_score_scale(axes: Axes, result: PatientResult) -> None:
    """The probability with its range over fold models on a 0-100 % scale, and the threshold."""
    score = result.patient
    axes.axhspan(-0.28, 0.28, color="#e8e8e8")
    axes.plot([100 * score.low, 100 * score.high], [0, 0], color=BLUE, linewidth=9, alpha=0.4, solid_capstyle="butt")
    axes.plot(100 * score.probability, 0, "o", color=BLUE, markersize=11)
    axes.axvline(100 * score.threshold, color=DARK, linestyle="--", linewidth=1.2)
    side = "left" if score.threshold < 0.75 else "right"
    axes.text(100 * score.threshold, 0.42, f" threshold {score.threshold:.0%} ", ha=side, fontsize=8, color=DARK)
    axes.set(xlim=(0, 100), ylim=(-0.5, 0.8), yticks=[])
    axes.set_xlabel("model score (%)", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "left", "right"]].set_visible(False)


def draw_by_slice(axes: Axes, result: PatientResult) -> None:
    """Every instance's probability, by side and slice."""
    groups: dict[tuple[str, str], list[InstanceResult]] = {}
    for instance in result.instances:
        groups.setdefault((instance.part, instance.side), []).append(instance)
    width = 0.8 / len(groups)
    for n, ((part, side), members) in enumerate(groups.items()):
        label = side if side != "none" and result.region == "sublentiform" else f"{part} {side}".replace(" none", "")
        places = [m.slice_index + 1 + (n - (len(groups) - 1) / 2) * width for m in members]
        colour = SIDE_COLOURS[side] if result.region == "sublentiform" else f"C{n}"
        axes.bar(places, [100 * m.probability for m in members], width * 0.92, color=colour, label=label)
    axes.axhline(100 * result.patient.threshold, color=DARK, linestyle="--", linewidth=1, label="threshold")
    axes.set_ylim(0, 100)
    axes.set_ylabel("score (%)", fontsize=8)
    axes.set_xlabel("slice (1 = lowest)", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.22), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def draw_drivers(axes: Axes, result: PatientResult) -> None:
    """Average contributions to the instances' log-odds: the network as one block, then the strongest features."""
    network = [c for c in result.contributions if c.name == "network" and c.log_odds != 0]
    features = [c for c in result.contributions if c.name not in ("baseline", "network")][:_FEATURES_SHOWN]
    parts = [*network, *features][::-1]
    axes.barh(range(len(parts)), [p.log_odds for p in parts], color=[ORANGE if p.log_odds > 0 else BLUE for p in parts])
    axes.set_yticks(range(len(parts)), [readable(p.name) for p in parts], fontsize=7)
    axes.tick_params(axis="x", labelsize=7.5)
    axes.axvline(0, color=DARK, linewidth=0.8)
    axes.set_xlabel("mean log-odds (right: towards infection)", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


#: The charts of a report: what draws them and their height in inches.
CHARTS = {"score": (draw_score_scale, 1.0), "slices": (draw_by_slice, 2.2), "drivers": (draw_drivers, 2.9)}


def chart(name: str, result: PatientResult) -> Figure:
    """One of CHARTS as a figure of its own."""
    draw, height = CHARTS[name]
    figure = Figure(figsize=(6.4, height), layout="constrained")
    draw(figure.subplots(), result)
    return figure


def readable(name: str) -> str:
    """A feature's name for readers: "log-sigma-1-0-mm-2D_glcm_Contrast" -> "LoG 1.0 mm, GLCM Contrast"."""
    parts = name.split("_")
    if len(parts) != 3:
        return {"network": "network (image patch)", "baseline": "average training slice"}.get(name, name)
    image, family, feature = parts
    words = image.split("-")
    image = f"LoG {words[2]}.{words[3]} mm" if image.startswith("log-sigma") else image
    return f"{image}, {family.upper() if family.startswith('g') or family == 'ngtdm' else family} {feature}"
