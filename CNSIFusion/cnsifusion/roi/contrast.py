"""Is the image T2-weighted? Judged from the voxels of known anatomy, since file names and headers are often wrong."""

from __future__ import annotations

import numpy as np

from cnsifusion.imaging import CheckReport, Finding, Volume
from cnsifusion.roi.anatomy import Anatomy

#: A lateral ventricle's signal over that of deep white matter. T2 FSE gives 2 and more, proton density about 1.3 or
#: less, T1 and FLAIR below 1.
MIN_CSF_OVER_WHITE = 1.4


def check_contrast(volume: Volume, anatomy: Anatomy) -> CheckReport:
    """Findings on the contrast of ``volume`` (T2, T1, FLAIR, proton density) and on how sure the anatomy is."""
    csf = volume.array[(anatomy.prior("lateral_left") + anatomy.prior("lateral_right")) > 0.9]
    grey = volume.array[(anatomy.prior("putamen_left") + anatomy.prior("putamen_right")) > 0.9]
    white = volume.array[anatomy.white_matter]
    if min(csf.size, grey.size, white.size) < 20:
        text = "The ventricles or the basal ganglia lie outside the image; a whole axial brain is needed."
        return CheckReport([Finding("coverage-anatomy", "refuse", text)])
    white_level = max(float(np.median(white)), 1e-6)
    # Priors overlap their neighbours a little, always with tissue: the upper quartile of the CSF prior is CSF.
    csf_ratio, grey_ratio = float(np.percentile(csf, 75)) / white_level, float(np.median(grey)) / white_level
    findings = [Finding(*f) for f in _judge(csf_ratio, grey_ratio)]
    if not anatomy.trusted:
        findings.append(Finding("anatomy", "refuse", "The brain could not be located: " + "; ".join(anatomy.reasons)))
    return CheckReport(findings)


def _judge(csf: float, grey: float) -> list[tuple[str, str, str]]:
    """Findings (code, level, text) for the signals of CSF and putamen relative to deep white matter."""
    if csf >= MIN_CSF_OVER_WHITE:
        return [("contrast", "ok", f"CSF is {csf:.1f} times as bright as white matter: T2-weighted.")]
    if csf < 1 and grey < 1:
        guess = "this looks T1-weighted"
    elif csf < 1:
        guess = "this looks like FLAIR"
    else:
        guess = "this looks proton-density-weighted or has too little T2 weighting"
    text = f"CSF is {csf:.1f} times as bright as white matter (a T2 image has {MIN_CSF_OVER_WHITE} or more): {guess}."
    return [("contrast", "refuse", text)]
