"""The one-page PDF report, drawn with matplotlib on A4 with margins that leave it whole on Letter paper too."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path

from matplotlib import image as mpl_image
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from cnsifusion.analysis import PatientResult
from cnsifusion.imaging import atomic_path
from cnsifusion.reporting.html import CAVEAT, REGION_WORDS, percent, region_rows
from cnsifusion.reporting.pictures import CHARTS, DARK, GREY, ORANGE

_A4 = (8.27, 11.69)
#: Left, bottom, right, top of what is printed, as shares of A4: inside a Letter page centred on it.
_LEFT, _BOTTOM, _RIGHT, _TOP = 0.08, 0.065, 0.92, 0.945
_WIDTH = 108  # characters of a full line at the small size


def write_pdf(result: PatientResult, key_images: bytes, out: str | Path) -> None:
    """Write the one-page report of ``result`` to ``out``, atomically; ``key_images`` is a PNG."""
    page = Figure(figsize=_A4)
    _head(page, result)
    _place(page, "score", result, 0.715, 0.075)
    picture = page.add_axes((_LEFT, 0.435, _RIGHT - _LEFT, 0.26))
    picture.imshow(mpl_image.imread(io.BytesIO(key_images)))
    picture.axis("off")
    _place(page, "slices", result, 0.285, 0.105, _LEFT + 0.04, 0.24)
    _place(page, "drivers", result, 0.285, 0.12, 0.735, 0.185)
    _foot(page, result)
    with atomic_path(out) as temporary, PdfPages(temporary) as pages:
        pages.savefig(page)


def _place(
    page: Figure, name: str, result: PatientResult, bottom: float, height: float, left: float = _LEFT, width: float = 0
) -> None:
    CHARTS[name][0](page.add_axes((left, bottom, width or _RIGHT - _LEFT, height)), result)


def _head(page: Figure, result: PatientResult) -> None:
    score = result.patient
    page.text(_LEFT, _TOP, "Infection probability from axial T2 MRI", fontsize=15, weight="bold", va="top")
    page.text(_LEFT, _TOP - 0.026, CAVEAT, fontsize=7.5, color=GREY, va="top")
    page.text(_LEFT, _TOP - 0.05, percent(score.probability), fontsize=27, weight="bold", va="top")
    colour = ORANGE if result.demonstration else DARK
    verdict = "\n".join(textwrap.wrap(result.verdict, 24))
    page.text(_LEFT + 0.2, _TOP - 0.05, verdict, fontsize=17, weight="bold", va="top", color=colour)
    prevalence = "half" if abs(score.training_prevalence - 0.5) < 0.005 else percent(score.training_prevalence)
    facts = (
        f"Model score, calibrated where {prevalence} were infected; range over fold models {percent(score.low)} to "
        f"{percent(score.high)}. {score.instances_above} of {score.instances} slices above threshold. "
        f"With a pre-test probability of 5 % it would be {percent(score.at_prevalence(0.05))}, "
        f"with 20 % {percent(score.at_prevalence(0.2))}. Region: {REGION_WORDS[result.region]}. Model: {result.model}."
    )
    page.text(_LEFT, _TOP - 0.115, textwrap.fill(facts, _WIDTH), fontsize=8, va="top")


def _foot(page: Figure, result: PatientResult) -> None:
    if result.heatmap:
        cells = f"Heat map cells {result.heatmap.cell_mm:.1f} mm: {result.heatmap.caption}."
        page.text(_LEFT, 0.425, f"Patient's left is on the right. {cells}", fontsize=7, color=GREY)
    rows = region_rows(result)
    lines = [
        f"{row['name']}: {row['volume_ml']:.2f} ml, {row['slices']} slices, mean {row['mean']:.0f}, SD {row['sd']:.0f}"
        for row in rows
    ]
    lines.append(f"PVS-like foci: left {result.pvs['left']}, right {result.pvs['right']}")
    page.text(_LEFT, 0.232, "Regions", fontsize=9, weight="bold", va="top")
    page.text(_LEFT, 0.217, "\n".join(lines), fontsize=7.5, va="top")
    warnings = [*result.warnings, *result.out_of_distribution] or ["none"]
    text = "\n".join(textwrap.fill(f"- {w}", 62, subsequent_indent="  ") for w in warnings).splitlines()
    shown = text if len(text) <= 9 else [*text[:8], f"... {len(warnings)} warnings in all: see the HTML report"]
    page.text(0.53, 0.232, "Warnings", fontsize=9, weight="bold", va="top")
    page.text(0.53, 0.217, "\n".join(shown), fontsize=7.5, va="top")
    p = result.provenance
    hashes = ", ".join(f"{what} {p[f'{what}_sha256'][:16]}" for what in ("image", "regions", "bundle"))
    provenance = (
        f"{hashes} ({p['bundle_name']}, backbone {p['backbone_origin']}); "
        f"CNSIFusion {p['versions']['cnsifusion']}, radiomics {p['radiomics']['engine']} "
        f"{p['radiomics']['engine_version']}; input check {result.check['verdict']}"
    )
    if result.demonstration:
        provenance = f"DEMONSTRATION: {result.demonstration_text} {provenance}"
    page.text(_LEFT, _BOTTOM, textwrap.fill(provenance, _WIDTH + 10), fontsize=6.8, color=GREY, va="bottom")
