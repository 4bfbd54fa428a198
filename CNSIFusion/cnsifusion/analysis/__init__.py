"""One patient: image + regions + bundle -> PatientResult."""

from cnsifusion.analysis.analyze import Analyzer
from cnsifusion.analysis.result import InstanceResult, PatientResult, read_result

__all__ = ["Analyzer", "InstanceResult", "PatientResult", "read_result"]
