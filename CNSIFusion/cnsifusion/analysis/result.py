"""PatientResult: everything the panel, the browser page, the report and the DICOM objects draw. None computes again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cnsifusion.bundles.decode import DecodeError, decode
from cnsifusion.errors import BadInput
from cnsifusion.imaging import write_text
from cnsifusion.roi.names import PARTS
from cnsifusion.roi.region_files import PART_SEGMENTS

_PART_WORDS = {"sublentiform": "Sub-lentiform", **{part: PART_SEGMENTS[value] for value, part in PARTS.items()}}
SCHEMA = "cnsifusion.patient-result"
SCHEMA_VERSION = 1
#: Sides whose means differ by less than this (probability) are called alike.
_ALIKE = 0.05


@dataclass(frozen=True)
class Contribution:
    """How many log-odds one feature (or the block "network") added, its value and its place in training (0-1)."""

    name: str
    log_odds: float
    value: float | None = None
    training_quantile: float | None = None


@dataclass(frozen=True)
class InstanceResult:
    """One classified instance. ``position_mm`` is the slice centre in LPS; log-odds are before calibration."""

    key: str
    part: str
    side: str
    slice_index: int
    position_mm: tuple[float, float, float]
    pixels: int
    log_odds: float
    probability: float
    above_threshold: bool
    contributions: list[Contribution]


@dataclass(frozen=True)
class PatientScore:
    """The patient's model score. ``low`` and ``high`` are the range over the bundle's fold models."""

    probability: float
    low: float
    high: float
    log_odds: float
    threshold: float
    threshold_name: str
    above_threshold: bool
    instances_above: int
    instances: int
    training_prevalence: float

    def at_prevalence(self, pretest: float) -> float:
        """The probability where a share ``pretest`` (0-1, exclusive) of patients is infected, by Bayes' rule on odds.

        Prior shift with unchanged likelihood ratio (Saerens et al., Neural Computation 2002;14:21). Raises BadInput
        outside 0-1.
        """
        if not 0 < pretest < 1:
            raise BadInput("The pre-test probability must lie between 0 and 100 %, both excluded.")
        trained = self.training_prevalence
        infected = self.probability * pretest / trained
        healthy = (1 - self.probability) * (1 - pretest) / (1 - trained)
        return infected / (infected + healthy)


@dataclass(frozen=True)
class HeatMap:
    """The file with a map of evidence (on the image's grid, 0-1), the map's own cell size and what it means."""

    file: str
    cell_mm: float
    caption: str


@dataclass(frozen=True)
class PatientResult:
    """Versioned, JSON-serialisable result of one analysis. File names are relative to the result's folder.

    ``heatmap`` is the network's map, ``logmap`` that of the chosen LoG features (None where there is none, and in
    results of versions before it).
    """

    demonstration: bool
    demonstration_text: str
    region: str
    model: str
    patient: PatientScore
    instances: list[InstanceResult]
    not_classified: list[dict[str, Any]]
    contributions: list[Contribution]
    statistics: dict[str, Any]
    pvs: dict[str, Any]
    heatmap: HeatMap | None
    check: dict[str, Any]
    warnings: list[str]
    out_of_distribution: list[str]
    provenance: dict[str, Any]
    seconds: dict[str, float]
    files: dict[str, str] = field(default_factory=dict)
    logmap: HeatMap | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON form with schema name and version first."""
        return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **asdict(self)}

    def write(self, path: str | Path) -> None:
        """Write as JSON, atomically."""
        write_text(json.dumps(self.to_dict(), indent=1, allow_nan=False, ensure_ascii=False), path)

    @property
    def verdict(self) -> str:
        """What stands beside the number: never a bare verdict."""
        if self.demonstration:
            return "DEMONSTRATION, not meaningful for patients"
        score = self.patient
        return f"{score.instances_above} of {score.instances} slices above threshold"

    @property
    def slices_above(self) -> str:
        """How many instances lie above the threshold; says so where a slice's right and left count as two."""
        score, slices = self.patient, {(i.part, i.slice_index) for i in self.instances}
        number = "1 slice" if len(slices) == 1 else f"{len(slices)} slices"
        twice = f", right and left of {number} counted separately" if len(slices) < len(self.instances) else ""
        return f"{score.instances_above} of {score.instances} slices above threshold{twice}"

    @property
    def maps(self) -> list[tuple[str, str, HeatMap]]:
        """The maps there are, in the order of showing: field of this class, name for readers, map."""
        named = (("logmap", "LoG features", self.logmap), ("heatmap", "Network", self.heatmap))
        return [(key, name, one) for key, name, one in named if one is not None]

    @property
    def left_out(self) -> list[str]:
        """What was not classified and why, one line each."""
        return [f"{place(n['part'], n['side'], n['slice_index'])}: {n['reason']}" for n in self.not_classified]

    @property
    def side_means(self) -> dict[str, float] | None:
        """Mean probability of the instances on each side; None where not both sides were classified."""
        sides = {side: [i.probability for i in self.instances if i.side == side] for side in ("left", "right")}
        return {side: sum(each) / len(each) for side, each in sides.items()} if all(sides.values()) else None

    @property
    def side_words(self) -> str:
        """The difference between the patient's sides; "" where only one was classified."""
        means = self.side_means
        if means is None:
            return ""
        difference = means["left"] - means["right"]
        higher = "left" if difference > 0 else "right"
        points = f"{higher} is {abs(100 * difference):.0f} points higher"
        words = "the sides are alike" if abs(difference) < _ALIKE else points
        return f"Mean of the slices: right {percent(means['right'])}, left {percent(means['left'])}; {words}."


def percent(value: float, threshold: float | None = None) -> str:
    """A probability for readers; never 0 % or 100 %, which no model can know.

    Where rounding would make it the ``threshold`` that it does not reach, it stands as less.
    """
    if value < 0.01:
        return "<1 %"
    text = ">99 %" if value > 0.99 else f"{100 * value:.0f} %"
    return f"<{text}" if threshold is not None and value < threshold and text == percent(threshold) else text


def part_words(part: str) -> str:
    """A region's part for readers."""
    return _PART_WORDS.get(part, part)


def place(part: str, side: str, index: int | None) -> str:
    """Where an instance lies, for readers: "Sub-lentiform left, slice 14" (counted from 1)."""
    where = "all slices" if index is None else f"slice {index + 1}"
    return f"{part_words(part)}, {where}" if side == "none" else f"{part_words(part)} {side}, {where}"


def readable(name: str) -> str:
    """A feature's name for readers: "log-sigma-1-0-mm-2D_glcm_Contrast" -> "LoG 1.0 mm, GLCM Contrast"."""
    parts = name.split("_")
    if len(parts) != 3:
        return {"network": "network (image patch)", "baseline": "average training slice"}.get(name, name)
    image, family, feature = parts
    words = image.split("-")
    image = f"LoG {words[2]}.{words[3]} mm" if image.startswith("log-sigma") else image
    return f"{image}, {family.upper() if family.startswith('g') or family == 'ngtdm' else family} {feature}"


def read_result(path: str | Path) -> PatientResult:
    """The PatientResult in the file ``path``. Raises BadInput when it is not one, or of another schema version."""
    try:
        return parse_result(Path(path).read_text("utf-8"))
    except FileNotFoundError as error:
        raise BadInput("There is no result.json at the path given.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("The result file cannot be read; run the analysis again.") from error


def parse_result(text: str) -> PatientResult:
    """The PatientResult in a JSON text. Raises BadInput as read_result does."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput("The result is not valid JSON; run the analysis again.") from error
    if not isinstance(data, dict) or data.pop("schema", None) != SCHEMA:
        raise BadInput("The file is not a CNSIFusion result (result.json).")
    version = data.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise BadInput(f"The result has schema version {version}; this program reads {SCHEMA_VERSION}.")
    try:
        result = decode(PatientResult, data)
    except DecodeError as error:
        raise BadInput(f"The result file is incomplete or damaged ({error}); run the analysis again.") from error
    _check(result)
    return result


def _check(result: PatientResult) -> None:
    """Refuse numbers that are no probabilities, and file names that lead out of the result's folder."""
    score = result.patient
    shares = [score.probability, score.low, score.high, score.threshold, *(i.probability for i in result.instances)]
    if not all(0 <= p <= 1 for p in shares) or not 0 < score.training_prevalence < 1:
        raise BadInput("The result file holds a probability outside 0 to 1; run the analysis again.")
    names = [*result.files.values(), *(m.file for m in (result.heatmap, result.logmap) if m)]
    if any(not name or set(name) & set("/\\:\0") or name.startswith(".") for name in names):
        raise BadInput("The result file names files outside its own folder; it was not made by this program.")
