"""Is the image T2-weighted? Judged from the voxels of known anatomy, since file names and headers are often wrong."""

from __future__ import annotations

import numpy as np

from cnsifusion.imaging import CheckReport, Finding, Volume
from cnsifusion.roi.anatomy import Anatomy
from cnsifusion.roi.maps import LABELS_OF_PART
from cnsifusion.roi.template import load_template

#: A lateral ventricle's signal over that of deep white matter. T2 FSE gives 2 and more, proton density 1.6 or
#: less, T1 and FLAIR below 1.
MIN_CSF_OVER_WHITE = 1.8


def check_contrast(volume: Volume, anatomy: Anatomy) -> CheckReport:
    """Findings on the contrast of ``volume`` (T2 or not) and on how surely its anatomy was found."""
    if not anatomy.trusted:
        text = (
            "This is not recognised as an axial T2 of a whole brain (FLAIR, T1 and proton density cannot be used). "
            + anatomy.reasons[0]
        )
        return CheckReport([Finding("not-t2", "refuse", text)])
    csf = _lateral_csf(volume, anatomy)
    white = volume.array[anatomy.white_matter]
    if min(csf.size, white.size) < 20:
        text = "The ventricles or the white matter lie outside the image; a whole axial brain is needed."
        return CheckReport([Finding("coverage-anatomy", "refuse", text)])
    # Priors overlap their neighbours a little, always with tissue: the upper quartile of the CSF prior is CSF.
    ratio = float(np.percentile(csf, 75)) / max(float(np.median(white)), 1e-6)
    if ratio >= MIN_CSF_OVER_WHITE:
        text = f"CSF is {ratio:.1f} times as bright as white matter: T2-weighted."
        return CheckReport([Finding("contrast", "ok", text)])
    text = (
        f"CSF is only {ratio:.1f} times as bright as white matter; a T2 image has {MIN_CSF_OVER_WHITE} or more "
        "(proton density, T1 or FLAIR?). Choose the T2 series."
    )
    return CheckReport([Finding("contrast", "refuse", text)])


def _lateral_csf(volume: Volume, anatomy: Anatomy) -> np.ndarray:
    """Intensities (n,) where the template is sure of a lateral ventricle."""
    template, lattice = load_template(), anatomy.lattice
    shares = [lattice.read(template.mask(name), template.grid, 0.0) for name in LABELS_OF_PART["lateral"]]
    box = lattice.around(np.logical_or.reduce([share > 0 for share in shares]))
    left, right = (lattice.spread(share, box) for share in shares)
    return volume.array[box][left + right > 0.9]
