"""The IBSI digital phantom against the consensus values of the Image Biomarker Standardisation Initiative.

Phantom and values: Zwanenburg et al., Radiology 2020;295:328 and the IBSI reference manual (arXiv:1612.07003), table
of the digital phantom, "3D, averaged" where a family is aggregated. Published to three significant digits.
"""

from __future__ import annotations

import numpy as np
import pytest
from radiomics_cases import IDENTITY

from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.radiomics import RadiomicsSettings, RegionMask, extract

#: Slices of the phantom; 0 is outside the region of interest.
PHANTOM = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ]
)

CONSENSUS = {
    "shape": {
        "MeshVolume": 556, "VoxelVolume": 592, "SurfaceArea": 388, "SurfaceVolumeRatio": 0.698, "Sphericity": 0.843,
        "Maximum3DDiameter": 13.1, "Elongation": 0.816, "Flatness": 0.749,
    },
    "firstorder": {
        "Mean": 2.15, "Variance": 3.05, "Skewness": 1.08, "Median": 1, "Minimum": 1, "10Percentile": 1,
        "90Percentile": 4, "Maximum": 6, "InterquartileRange": 3, "Range": 5, "MeanAbsoluteDeviation": 1.55,
        "RobustMeanAbsoluteDeviation": 1.11, "Energy": 567, "RootMeanSquared": 2.77, "Entropy": 1.27,
        "Uniformity": 0.512,
    },
    "glcm": {
        "MaximumProbability": 0.503, "JointAverage": 2.14, "SumSquares": 3.1, "JointEntropy": 2.4,
        "DifferenceAverage": 1.43, "DifferenceVariance": 3.06, "DifferenceEntropy": 1.56, "SumAverage": 4.29,
        "SumEntropy": 1.92, "JointEnergy": 0.303, "Contrast": 5.32, "Id": 0.677, "Idn": 0.851, "Idm": 0.618,
        "Idmn": 0.898, "InverseVariance": 0.0604, "Correlation": 0.157, "Autocorrelation": 5.06,
        "ClusterTendency": 7.07, "ClusterShade": 16.6, "ClusterProminence": 145, "Imc1": -0.157, "Imc2": 0.52,
    },
    "glrlm": {
        "ShortRunEmphasis": 0.705, "LongRunEmphasis": 3.06, "LowGrayLevelRunEmphasis": 0.603,
        "HighGrayLevelRunEmphasis": 9.7, "ShortRunLowGrayLevelEmphasis": 0.352, "ShortRunHighGrayLevelEmphasis": 8.54,
        "LongRunLowGrayLevelEmphasis": 2.39, "LongRunHighGrayLevelEmphasis": 17.6, "GrayLevelNonUniformity": 21.8,
        "GrayLevelNonUniformityNormalized": 0.43, "RunLengthNonUniformity": 26.9,
        "RunLengthNonUniformityNormalized": 0.513, "RunPercentage": 0.68, "GrayLevelVariance": 3.46,
        "RunVariance": 0.574, "RunEntropy": 2.43,
    },
    "glszm": {
        "SmallAreaEmphasis": 0.255, "LargeAreaEmphasis": 550, "LowGrayLevelZoneEmphasis": 0.253,
        "HighGrayLevelZoneEmphasis": 15.6, "SmallAreaLowGrayLevelEmphasis": 0.0256,
        "SmallAreaHighGrayLevelEmphasis": 2.76, "LargeAreaLowGrayLevelEmphasis": 503,
        "LargeAreaHighGrayLevelEmphasis": 1490, "GrayLevelNonUniformity": 1.4,
        "GrayLevelNonUniformityNormalized": 0.28, "SizeZoneNonUniformity": 1, "SizeZoneNonUniformityNormalized": 0.2,
        "ZonePercentage": 0.0676, "GrayLevelVariance": 2.64, "ZoneVariance": 331, "ZoneEntropy": 2.32,
    },
    "gldm": {
        "SmallDependenceEmphasis": 0.045, "LargeDependenceEmphasis": 109, "LowGrayLevelEmphasis": 0.693,
        "HighGrayLevelEmphasis": 7.66, "SmallDependenceLowGrayLevelEmphasis": 0.00963,
        "SmallDependenceHighGrayLevelEmphasis": 0.736, "LargeDependenceLowGrayLevelEmphasis": 102,
        "LargeDependenceHighGrayLevelEmphasis": 235, "GrayLevelNonUniformity": 37.9, "DependenceNonUniformity": 4.86,
        "DependenceNonUniformityNormalized": 0.0657, "GrayLevelVariance": 3.05, "DependenceVariance": 22.1,
        "DependenceEntropy": 4.4,
    },
    "ngtdm": {"Coarseness": 0.0296, "Contrast": 0.584, "Busyness": 6.54, "Complexity": 13.5, "Strength": 0.763},
}  # fmt: skip


@pytest.fixture(scope="module")
def phantom():
    volume = Volume(PHANTOM.astype(np.float32), Grid((5, 4, 4), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), IDENTITY))
    settings = RadiomicsSettings(log_sigmas_mm=(), force_2d=False, bin_width={"original": 1.0})
    return extract(volume, [RegionMask("phantom", PHANTOM > 0)], settings)


@pytest.mark.parametrize(
    ("kind", "name", "consensus"), [(k, n, v) for k, values in CONSENSUS.items() for n, v in values.items()]
)
def test_equals_the_consensus_value(phantom, kind, name, consensus):
    value = phantom.column(f"original_{kind}_{name}")[0]
    digits = 10.0 ** (np.floor(np.log10(abs(consensus))) - 2)  # three significant digits
    assert abs(value - consensus) <= 0.5001 * digits


def test_kurtosis_is_not_excess(phantom):
    assert phantom.column("original_firstorder_Kurtosis")[0] - 3 == pytest.approx(-0.355, abs=5e-4)


@pytest.mark.parametrize(("axis", "consensus"), [("Major", 11.4), ("Minor", 9.31), ("Least", 8.54)])
def test_axis_lengths_divide_by_n_where_ibsi_divides_by_n_minus_one(phantom, axis, consensus):
    value = phantom.column(f"original_shape_{axis}AxisLength")[0] * np.sqrt(74 / 73)
    assert float(f"{value:.3g}") == consensus
