"""Radiomics with pyradiomics' definitions and names: LoG images, features, feature tables."""

from cnsifusion.radiomics.extract import extract, feature_names
from cnsifusion.radiomics.reference import extract_with_pyradiomics
from cnsifusion.radiomics.settings import RadiomicsSettings
from cnsifusion.radiomics.table import FeatureTable
from cnsifusion.radiomics.voxels import RegionMask

__all__ = [
    "FeatureTable",
    "RadiomicsSettings",
    "RegionMask",
    "extract",
    "extract_with_pyradiomics",
    "feature_names",
]
