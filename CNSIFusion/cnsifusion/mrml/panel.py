"""What the panel says at this moment: the five steps, their words, and each button with the reason why it is disabled.

Both faces draw :class:`PanelView`; neither decides anything of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from cnsifusion.analysis.result import PatientResult
from cnsifusion.errors import CNSIFusionError
from cnsifusion.mrml.batch import BatchView
from cnsifusion.mrml.case import NEWER, CaseState, caseNodes, isNewer
from cnsifusion.mrml.drawn import Remembered, milliliters, segmentIdOf, stamp
from cnsifusion.mrml.exporting import EXPORT
from cnsifusion.mrml.jobs import ANALYZE, CHECK, PROPOSE
from cnsifusion.mrml.models import ModelCard
from cnsifusion.mrml.results import resultOf
from cnsifusion.mrml.resultview import ResultView, resultView
from cnsifusion.mrml.segmentation import REJECTED_TAG, isEdited, regionsInfo, tagValue, whyMissing
from cnsifusion.mrml.session import Session
from cnsifusion.mrml.staleness import staleness
from cnsifusion.roi.names import PVS_LEFT, PVS_RIGHT, REGIONS, SEGMENTS
from cnsifusion.roi.region_io import ORIGIN_TAG

IMAGE, REGIONS_STEP, MODEL, ANALYZE_STEP, RESULT = "image", "regions", "model", "analyze", "result"
TITLES = {IMAGE: "1 Image", REGIONS_STEP: "2 Regions", MODEL: "3 Model", ANALYZE_STEP: "4 Analyze", RESULT: "5 Result"}

_volumes = Remembered()
_VERDICTS = {
    "ok": ("info", "Suitable: an axial T2 of the head."),
    "warn": ("warn", "Usable, with warnings:"),
    "refuse": ("error", "Outside intended use, no score:"),
}


@dataclass(frozen=True)
class Line:
    """One sentence and its level: ``info`` | ``warn`` | ``error``."""

    text: str
    level: str = "info"


@dataclass(frozen=True)
class Action:
    """A button: its word, whether it can be pressed, and what it does or why it cannot."""

    label: str
    tooltip: str
    enabled: bool


@dataclass(frozen=True)
class Step:
    """One of the five steps. ``state`` is ``todo`` | ``next`` | ``running`` | ``done`` | ``problem``."""

    key: str
    title: str
    state: str
    lines: list[Line]


@dataclass(frozen=True)
class RegionRow:
    """One of the protocol's regions: what stands of it. ``segmentId`` is "" where it is not drawn.

    ``amount`` is its volume in words.
    """

    name: str
    color: tuple[float, float, float]
    segmentId: str
    milliliters: float
    amount: str
    state: str


@dataclass(frozen=True)
class PanelView:
    """Everything a face draws. ``mapInView``: whether the chosen map lies over the image, which it does only while the
    result is one of what is shown.
    """

    steps: dict[str, Step]
    actions: dict[str, Action]
    regions: list[RegionRow]
    progress: dict = field(default_factory=dict)
    progressText: str = ""
    result: ResultView | None = None
    message: Line | None = None
    card: ModelCard | None = None
    batch: BatchView = field(default_factory=BatchView)
    beside: str = ""
    mapInView: bool = False


def panelView(session: Session) -> PanelView:
    """The panel for the session's case as it stands."""
    case = session.front
    rows = _regionRows(case)
    result = resultOf(case) if case else None
    bundle = session.bundle()
    checking = session.job is not None and session.job.kind == CHECK
    card = session.models.card(session.bundleFolder())
    stale = staleness(case, result, card) if case and result else ""
    states = _states(session, case, rows, bundle, result, stale)
    lines = {
        IMAGE: _imageLines(case, checking) + _newerLines(session, case) + _besideLines(session),
        REGIONS_STEP: _regionLines(case, rows),
        MODEL: _modelLines(bundle, card),
        ANALYZE_STEP: [],
        RESULT: _resultLines(result, stale),
    }
    return PanelView(
        steps={key: Step(key, TITLES[key], states[key], lines[key]) for key in TITLES},
        actions=_actions(session, case, rows, bundle, result, stale),
        regions=rows,
        progress=dict(session.job.progress) if session.busy else {},
        progressText=_progressText(session.job.progress) if session.busy else "",
        result=resultView(case, result, stale) if case and result else None,
        message=Line(case.message["text"], case.message["level"]) if case and case.message else None,
        card=card,
        batch=session.batch.view,
        beside=beside.GetName() if (beside := session.beside.shown()) else "",
        mapInView=bool(result and not stale and case.heatMapShown and case.shownMap),
    )


def _progressText(progress: dict) -> str:
    text = progress.get("name", "")
    if "steps" in progress:
        text = f"Step {progress['step']} of {progress['steps']}: {text}"
    if progress.get("seconds_left"):
        text += f", about {max(progress['seconds_left'], 1):.0f} s left"
    return text


def _states(session: Session, case, rows: list[RegionRow], bundle, result, stale: str) -> dict[str, str]:
    verdict = case.check.get("verdict") if case else None
    running = session.job.kind if session.job else None
    done = {
        IMAGE: case is not None and verdict != "refuse",
        REGIONS_STEP: _regionReady(rows, bundle),
        MODEL: bundle is not None and not isinstance(bundle, CNSIFusionError),
        ANALYZE_STEP: result is not None and not stale,
        RESULT: False,
    }
    states = {key: "done" if value else "todo" for key, value in done.items()}
    if verdict == "refuse":
        states[IMAGE] = "problem"
    if isinstance(bundle, CNSIFusionError):
        states[MODEL] = "problem"
    if running:
        states[{CHECK: IMAGE, PROPOSE: REGIONS_STEP, ANALYZE: ANALYZE_STEP, EXPORT: RESULT}[running]] = "running"
    first = next((key for key in TITLES if not done[key]), None)
    if first and states[first] == "todo" and not session.busy:
        states[first] = "done" if first == RESULT else "next"
    return states


def _imageLines(case: CaseState | None, checking: bool = False) -> list[Line]:
    if case is None:
        return [Line("Choose the axial T2 series of the head.")]
    image, spacing = case.volume.GetImageData(), case.volume.GetSpacing()
    size = " x ".join(str(n) for n in image.GetDimensions())
    lines = [Line(f"{size} voxels of {' x '.join(f'{s:.2f}' for s in spacing)} mm")]
    level, text = _VERDICTS[case.check.get("verdict", "ok")]
    lines.append(Line("Checking the contrast…") if checking else Line(text, level))
    order = {"refuse": 0, "warn": 1}
    findings = [f for f in case.check.get("findings", []) if f["level"] in order]
    for finding in sorted(findings, key=lambda f: order[f["level"]]):
        lines.append(Line(finding["text"], "error" if finding["level"] == "refuse" else "warn"))
    return lines


def _newerLines(session: Session, case: CaseState | None) -> list[Line]:
    newer = case is None and any(map(isNewer, caseNodes(session.scene)))
    return [Line(NEWER, "warn")] if newer else []


def _besideLines(session: Session) -> list[Line]:
    note = session.beside.note()
    return [Line(note, "warn")] if note else []


def _regionLines(case: CaseState | None, rows: list[RegionRow]) -> list[Line]:
    drawn, node = {row.name for row in rows if row.milliliters > 0}, case.segmentation if case else None
    missing = [why for name, why in whyMissing(node).items() if name not in drawn] if node else []
    if not missing and not any(row.segmentId for row in rows):
        nothing = "Nothing is drawn: propose the regions or draw them. If they were undone, Redo brings them back."
        return [Line(nothing if node else "Propose the regions, then look at them and correct them.")]
    return [Line(why, "warn") for why in missing] + [Line(note) for note in regionsInfo(node)[1]]


def _modelLines(bundle, card: ModelCard | None) -> list[Line]:
    if bundle is None or (card is None and not isinstance(bundle, CNSIFusionError)):
        return [Line("Reading the model…")]
    if isinstance(bundle, CNSIFusionError):
        return [Line(str(bundle), "error")]
    cohort = bundle.cohort
    controls = f"{cohort.controls} controls ({cohort.kind_of_controls})"
    lines = [
        Line(bundle.name),
        Line(f"Trained on {cohort.infected} infected and {controls}; per patient: {card.figures or 'no figures'}."),
        Line(f"{len(card.limits)} limits and all figures: see the card. Hash {card.sha256[:12]}"),
    ]
    return [Line(f"DEMONSTRATION. {bundle.demonstration_text}", "warn"), *lines] if bundle.demonstration else lines


def _resultLines(result: PatientResult | None, stale: str) -> list[Line]:
    if result is None:
        return [Line("No result yet.")]
    return [Line(f"{stale} Until then its maps are hidden.", "warn")] if stale else []


def _actions(session: Session, case, rows: list[RegionRow], bundle, result, stale: str) -> dict[str, Action]:
    busy = "" if not session.busy else "Wait for the running job or cancel it."
    noImage = "" if case else "Choose the axial T2 image first."
    refused = ""
    if case and case.check.get("verdict") == "refuse":
        refused = "The image is outside intended use: " + _imageLines(case)[2].text
    noBundle = str(bundle) if isinstance(bundle, CNSIFusionError) else "" if bundle else "The model is being read."
    noResult = "" if result else "There is no result yet: analyze first."
    noReport = session.exports.restoring.problem()
    noHeat = "" if case and case.shownMap else "There is no heat map: analyze first."
    incomplete = "" if noBundle or not rows or not any(r.segmentId for r in rows) else _missing(rows, bundle)
    table = {
        "open": ("Open image…", "Choose the axial T2: NIfTI, NRRD, MetaImage or a DICOM folder.", [busy]),
        "propose": ("Propose regions", "Find the regions automatically (can be undone).", [noImage, refused, busy]),
        "import": ("Bring in a file…", "Regions from .seg.nrrd, a labelmap or DICOM SEG.", [noImage, busy]),
        "edit": ("Correct", "Grow, erase or draw in the slice views.", [noImage, busy]),
        "bundle": ("Choose model…", "A model bundle's folder.", [noImage, busy]),
        "analyze": (
            "Analyze",
            "Compute the infection probability from the regions shown.",
            [noImage, refused, noBundle, incomplete, busy],
        ),
        "cancel": ("Cancel", "Stop the running job.", ["" if session.busy else "Nothing is running."]),
        "report": ("Report…", "Open the report of the last analysis.", [noResult, noReport, stale]),
        "pdf": ("Save as PDF…", "The report on one page.", [noResult, noReport, stale]),
        "dicom": (
            "DICOM…",
            "Regions (SEG), measurements (SR) and key images for the PACS, marked research use only.",
            [noResult, noReport, session.exports.dicomProblem(), stale, busy],
        ),
        "card": ("Model card", "Training data, figures, limits and hash of the model.", [noBundle]),
        "beside": ("Other series…", "Another series of this patient, scrolling with the image.", [noImage]),
        "batch": (
            "Many patients…",
            "Analyze every image of a folder with this model, one after the other, into one table.",
            [noBundle, "A batch is running: wait for it or cancel it." if session.batch.view.running else ""],
        ),
        "heat": ("Heat map", "Show where the LoG features come from, or where the network looked.", [noHeat, stale]),
    }
    actions = {}
    for key, (label, tooltip, obstacles) in table.items():
        reason = next((o for o in obstacles if o), "")
        actions[key] = Action(label, reason or tooltip, not reason)
    return actions


def _regionReady(rows: list[RegionRow], bundle) -> bool:
    if bundle is None or isinstance(bundle, CNSIFusionError):
        return any(row.milliliters > 0 for row in rows)
    return not _missing(rows, bundle) and any(row.milliliters > 0 for row in rows)


def _missing(rows: list[RegionRow], bundle) -> str:
    """Why the model cannot run on these regions: none of those it looks at is drawn."""
    needed = [row for row in rows if row.name in REGIONS[bundle.region]]
    if any(row.milliliters > 0 for row in needed):
        return ""
    names = " and ".join(row.name for row in needed)
    return f"The model looks at {names}, and none of it is drawn: propose or draw it."


def _regionRows(case: CaseState | None) -> list[RegionRow]:
    rows = []
    node = case.segmentation if case else None
    for name, known in SEGMENTS.items():
        segmentId = segmentIdOf(node, name) if node else ""
        ml, state = 0.0, "not drawn"
        if segmentId:
            segment = node.GetSegmentation().GetSegment(segmentId)
            ml = _volumes.get(stamp(node, segmentId), partial(milliliters, node, segmentId))
            state = tagValue(segment, ORIGIN_TAG) or "manual"
            if isEdited(node, segmentId):
                state = "edited"
            if not ml:
                state = "none found" if name in (PVS_LEFT, PVS_RIGHT) else "empty"
                state = "rejected" if tagValue(segment, REJECTED_TAG) else state
        rows.append(RegionRow(name, known.color, segmentId, ml, _amount(ml), state))
    return rows


def _amount(ml: float) -> str:
    if not ml:
        return ""
    return f"{ml:.2f} ml" if ml >= 0.01 else f"{max(1, round(1000 * ml))} mm³"  # a few voxels are not "0.00 ml"
