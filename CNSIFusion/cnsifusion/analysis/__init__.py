"""One patient: image + regions + bundle -> PatientResult."""

from cnsifusion.analysis.analyze import Analyzer
from cnsifusion.analysis.features import extract_features
from cnsifusion.analysis.result import (
    Contribution,
    HeatMap,
    InstanceResult,
    PatientResult,
    PatientScore,
    parse_result,
    read_result,
)

__all__ = [
    "Analyzer", "Contribution", "HeatMap", "InstanceResult", "PatientResult", "PatientScore", "extract_features",
    "parse_result", "read_result",
]  # fmt: skip
