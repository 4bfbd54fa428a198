"""Draws the extension's icons: a T2 slice's ventricles and sub-lentiform regions in the panel's colours, no real voxel.

``python Testing/icons.py`` writes them into the modules' Resources.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.patches import Circle, Ellipse, PathPatch
from matplotlib.path import Path as Curve

ROOT = Path(__file__).resolve().parent.parent
CSF, LEFT, RIGHT, HEAT = "#56b4e9", "#e69f00", "#f0e442", "#d55e00"


def head(axes) -> None:
    """Skull and brain as seen from below."""
    axes.add_patch(Ellipse((0, 0), 1.72, 1.94, color="#e8e8e8"))
    axes.add_patch(Ellipse((0, 0), 1.58, 1.80, color="#1c1c1c"))
    axes.add_patch(Ellipse((0, 0), 1.50, 1.72, color="#6f6f6f"))
    axes.plot([0, 0], [0.52, 0.84], color="#d8d8d8", lw=1.4)
    axes.plot([0, 0], [-0.84, -0.50], color="#d8d8d8", lw=1.4)


def ventricle(axes, side: int) -> None:
    """One lateral ventricle: frontal horn and trigone."""
    points = [(0.05, 0.12), (0.08, 0.50), (0.36, 0.56), (0.16, 0.30), (0.16, 0.06), (0.20, -0.30), (0.46, -0.56),
              (0.10, -0.46), (0.05, 0.12)]  # fmt: skip
    curve = [(side * x, y) for x, y in points]
    codes = [Curve.MOVETO] + [Curve.CURVE3] * (len(curve) - 1)
    axes.add_patch(PathPatch(Curve(curve, codes), color=CSF))


def region(axes, side: int, color: str) -> None:
    """One sub-lentiform region with its perivascular spaces."""
    axes.add_patch(Ellipse((side * 0.46, 0.06), 0.30, 0.22, angle=-side * 25, color=color))
    for dx, dy in ((-0.05, 0.02), (0.04, 0.04), (0.02, -0.05)):
        axes.add_patch(Circle((side * (0.46 + dx), 0.06 + dy), 0.024, color="white"))


def pencil(axes) -> None:
    """A pencil over the lower right corner, for the editing effect."""
    axes.add_patch(PathPatch(Curve([(0.22, -0.86), (0.32, -0.62), (0.86, -0.08), (0.98, -0.20), (0.44, -0.74)],
                                   closed=False), color=HEAT, ec="white", lw=1.2))  # fmt: skip
    axes.add_patch(PathPatch(Curve([(0.22, -0.86), (0.32, -0.62), (0.44, -0.74)], closed=False), color="white"))


def draw(path: Path, pixels: int, editing: bool = False) -> None:
    """Write one icon."""
    figure = pyplot.figure(figsize=(1.28, 1.28), dpi=pixels / 1.28)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(-1, 1)
    axes.set_ylim(-1, 1)
    head(axes)
    for side, color in ((1, LEFT), (-1, RIGHT)):
        ventricle(axes, side)
        region(axes, side, color)
    if editing:
        pencil(axes)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True, metadata={"Software": None})
    pyplot.close(figure)


def sample(path: Path) -> None:
    """The Sample Data thumbnail: a slice of the simulated patient."""
    from cnsifusion.simulation import simulate_patient

    volume = simulate_patient(7, infected=True).volume
    array = volume.array[volume.array.shape[0] // 2]
    height, width = array.shape[0] * volume.spacing[1], array.shape[1] * volume.spacing[0]
    figure = pyplot.figure(figsize=(2.6, 2.6 * height / width), dpi=100, facecolor="black")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(array, cmap="gray", vmin=0, vmax=float(sorted(array.ravel())[int(0.995 * array.size)]), aspect="auto")
    figure.savefig(path, metadata={"Software": None})
    pyplot.close(figure)


if __name__ == "__main__":
    icons = ROOT / "CNSIFusion" / "Resources" / "Icons"
    draw(icons / "CNSIFusion.png", 128)
    draw(ROOT / "CNSISegmentEditor" / "Resources" / "Icons" / "CNSISegmentEditor.png", 128)
    draw(ROOT / "CNSISegmentEditor" / "CNSISegmentEditorLib" / "SegmentEditorEffect.png", 64, editing=True)
    sample(icons / "SampleSimulated.png")
