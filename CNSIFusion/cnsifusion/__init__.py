"""CNSIFusion: infection probability from the CSF signal of an axial T2 brain MRI (research use only)."""

import os

__version__ = "0.1.0"

# ONNX Runtime (1.32 on Linux) sends usage events to its maker from the moment it is imported. Nothing may leave a
# hospital's machine, so they are switched off before any module of this package can import it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
