"""The result in the protocol's words, as both faces draw it: number, range, slices by side, what drove it."""

from __future__ import annotations

from dataclasses import dataclass

from cnsifusion.analysis.result import InstanceResult, PatientResult, part_words, percent, place, readable
from cnsifusion.errors import BadInput
from cnsifusion.mrml.case import CaseState

RESEARCH_USE = "Research use only. Does not replace lumbar puncture; a low score does not exclude infection."
CALIBRATION = "Model score, calibrated where {prevalence} of the patients were infected."
MAP_CAPTION = "{name}: {caption} (cell {cell:.1f} mm)."


@dataclass(frozen=True)
class InstanceRow:
    """One slice of the result. ``position`` is its centre in LPS mm."""

    key: str
    text: str
    side: str
    probability: float
    percent: str
    aboveThreshold: bool
    position: tuple[float, float, float]


@dataclass(frozen=True)
class ChartRow:
    """A line of the chart: a slice (of a part) with its bars. Right stands on the left, as in the axial view.

    ``middle`` is the bar of a part without sides.
    """

    text: str
    right: InstanceRow | None
    left: InstanceRow | None
    middle: InstanceRow | None


@dataclass(frozen=True)
class MapRow:
    """A map that can lie over the image. ``key`` is what ``CaseState.chosenMap`` takes."""

    key: str
    name: str
    caption: str


@dataclass(frozen=True)
class DriverRow:
    """What one feature (or the network) added to the patient's log-odds, averaged over the slices.

    ``place`` is where the patient lies in the training distribution (0 lowest, 1 highest), None where unknown.
    """

    name: str
    logOdds: float
    text: str
    place: float | None


@dataclass(frozen=True)
class ResultView:
    """The result in the protocol's words. ``verdict`` is drawn as large as ``probability``."""

    probability: str
    verdict: str
    demonstration: bool
    range: str
    value: float
    low: float
    high: float
    threshold: float
    thresholdPercent: str
    slices: str
    sides: str
    calibration: str
    atPretest: str
    caveat: str
    maps: list[MapRow]
    shownMap: MapRow | None
    warnings: list[str]
    instances: list[InstanceRow]
    chart: list[ChartRow]
    notClassified: list[str]
    contributions: list[tuple[str, float]]
    drivers: list[DriverRow]
    stale: str


def resultView(case: CaseState, result: PatientResult, stale: str = "") -> ResultView:
    """What the faces draw of the case's result; ``stale`` says why it is none of what is shown."""
    score = result.patient
    rows = [_instanceRow(i, score.threshold) for i in result.instances]
    maps = _maps(case, result)
    return ResultView(
        probability=percent(score.probability, score.threshold),
        verdict=result.verdict,
        demonstration=result.demonstration,
        range=f"Range over fold models: {percent(score.low)} to {percent(score.high)}",
        value=score.probability,
        low=score.low,
        high=score.high,
        threshold=score.threshold,
        thresholdPercent=percent(score.threshold),
        slices=result.slices_above,
        sides=result.side_words,
        calibration=_calibration(result),
        atPretest=atPretest(result, case.pretest),
        caveat=RESEARCH_USE,
        maps=maps,
        shownMap=next((m for m in maps if m.key == case.chosenMap), maps[0] if maps else None),
        warnings=[*result.warnings, *result.out_of_distribution],
        instances=rows,
        chart=_chart(result, rows),
        notClassified=result.left_out,
        contributions=_contributions(result),
        drivers=_driverRows(result),
        stale=stale,
    )


def atPretest(result: PatientResult, pretest: float | None) -> str:
    """The sentence for this setting's pre-test probability; what to do where none or an impossible one is given."""
    if pretest is None:
        return "Give the pre-test probability of your setting to see what the score means there."
    try:
        there = percent(result.patient.at_prevalence(pretest))
        return f"With a pre-test probability of {100 * pretest:.3g} % it would be {there}."
    except BadInput as error:
        return str(error)


def _calibration(result: PatientResult) -> str:
    """What the number is, and of a demonstration whom it was learned from."""
    words = CALIBRATION.format(prevalence=percent(result.patient.training_prevalence))
    return f"{words} {result.demonstration_text}" if result.demonstration else words


def _maps(case: CaseState, result: PatientResult) -> list[MapRow]:
    """Those that are (still) in the scene."""
    roles = {"logmap": "logMap", "heatmap": "heatMap"}
    return [
        MapRow(roles[key], name, MAP_CAPTION.format(name=name, caption=one.caption, cell=one.cell_mm))
        for key, name, one in result.maps
        if getattr(case, roles[key]) is not None
    ]


def _instanceRow(i: InstanceResult, threshold: float) -> InstanceRow:
    where, shown = place(i.part, i.side, i.slice_index), percent(i.probability, threshold)
    return InstanceRow(i.key, where, i.side, i.probability, shown, i.above_threshold, i.position_mm)


def _chart(result: PatientResult, rows: list[InstanceRow]) -> list[ChartRow]:
    """Slices from the top of the head down, a region's parts one after the other."""
    groups: dict[tuple[str, int], dict[str, InstanceRow]] = {}
    for instance, row in zip(result.instances, rows):
        groups.setdefault((instance.part, instance.slice_index), {})[instance.side] = row
    parts = list(dict.fromkeys(part for part, _ in groups))
    several = len(parts) > 1
    chart = []
    for part, index in sorted(groups, key=lambda key: (parts.index(key[0]), -key[1])):
        bars = groups[part, index]
        text = f"{part_words(part)} {index + 1}" if several else f"slice {index + 1}"
        chart.append(ChartRow(text, bars.get("right"), bars.get("left"), bars.get("none")))
    return chart


def _contributions(result: PatientResult) -> list[tuple[str, float]]:
    ordered = sorted(result.contributions, key=lambda c: -abs(c.log_odds))
    return [(readable(c.name), c.log_odds) for c in ordered]


def _driverRows(result: PatientResult) -> list[DriverRow]:
    """The strongest first; the constant "baseline" drives nothing and is left out."""
    driving = [c for c in result.contributions if c.name != "baseline"]
    rows = []
    for item in sorted(driving, key=lambda c: -abs(c.log_odds)):
        text = "raises" if item.log_odds > 0 else "lowers"
        if item.training_quantile is not None:
            text += f", higher than in {100 * item.training_quantile:.0f} % of the training"
        rows.append(DriverRow(readable(item.name), item.log_odds, text, item.training_quantile))
    return rows
