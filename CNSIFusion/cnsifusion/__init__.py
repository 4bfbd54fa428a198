"""CNSIFusion: infection probability from the CSF signal of an axial T2 brain MRI (research use only)."""

__version__ = "0.1.0"
