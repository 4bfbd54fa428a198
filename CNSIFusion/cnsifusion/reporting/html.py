"""The HTML report: one self-contained file drawn from a PatientResult and its key images."""

from __future__ import annotations

import base64
from datetime import datetime, timezone
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, Template

from cnsifusion.analysis import PatientResult
from cnsifusion.analysis.result import PatientScore, percent, readable
from cnsifusion.reporting.charts import CHARTS, svg
from cnsifusion.reporting.pictures import key_images_caption
from cnsifusion.roi.names import SEGMENTS

PRETEST = (0.01, 0.02, 0.05, 0.10, 0.20, 0.30, 0.50)
_FEATURES_LISTED = 8
_CHART_WIDTH = 390.0  # points, at which the words of a chart can be read in half a page's width
CAVEAT = (
    "Research use only, not for diagnosis. Does not replace lumbar puncture; a low score does not exclude infection."
)
REGION_WORDS = {"sublentiform": "sub-lentiform parenchyma", "ventricles": "ventricular CSF"}


@cache
def _template() -> Template:
    """Compiled once: a warm worker's next report is 0.15 s quicker."""
    source = (files("cnsifusion.resources") / "report" / "report.html.j2").read_text("utf-8")
    return Environment(autoescape=True, trim_blocks=True).from_string(source)


def render(result: PatientResult, key_images: bytes, patient: str = "") -> str:
    """The report's HTML; ``key_images`` is a PNG. ``patient`` is whom it names, "" for nobody."""
    charts = {name: _embed(svg(draw(result, _CHART_WIDTH)).encode(), "svg+xml") for name, draw in CHARTS.items()}
    score = result.patient
    return _template().render(
        result=result,
        patient=patient,
        caveat=CAVEAT,
        images_caption=key_images_caption(result),
        score=score,
        prevalence=prevalence(score),
        threshold_words=_threshold_words(score.threshold_name),
        region=REGION_WORDS[result.region],
        created=created(),
        pictures={**charts, "key_images": _embed(key_images, "png")},
        pretest=[(p, score.at_prevalence(p)) for p in PRETEST],
        features=result.contributions[2 : 2 + _FEATURES_LISTED],
        regions=region_rows(result),
        large=sum(f["large"] for f in result.pvs["foci"]),
        provenance=_flat(result.provenance),
        percent=percent,
        readable=readable,
    )


def prevalence(score: PatientScore) -> str:
    """The share of infected patients in the training, in words."""
    return "half" if abs(score.training_prevalence - 0.5) < 0.005 else percent(score.training_prevalence)


def created() -> str:
    """When a report is being made."""
    return datetime.now(timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M")


def region_rows(result: PatientResult) -> list[dict[str, Any]]:
    """One row per segment with its statistics, how it was made and its colour in the pictures (CSS)."""
    made = result.provenance["region_origin"]
    return [
        {**row, "name": name, "origin": made.get(name, ""), "colour": _css(SEGMENTS[name].color)}
        for name, row in result.statistics["segments"].items()
    ]


def _css(colour: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * c):02x}" for c in colour)


def _embed(picture: bytes, kind: str) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(picture).decode("ascii")


def _flat(data: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in data.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        rows += _flat(value, f"{name}: ") if isinstance(value, dict) else [(name, str(value))]
    return rows


def _threshold_words(name: str) -> str:
    """How a threshold was set, by its name in the bundle: youden, or sensitivity and per cent."""
    per_cent = name.removeprefix("sensitivity")
    if per_cent != name:
        return f"set at sensitivity {per_cent} %"
    return "set by Youden's index" if name == "youden" else name
