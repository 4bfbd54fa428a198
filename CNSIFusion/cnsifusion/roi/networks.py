"""The small networks beside the template that see region B and the PVS-like foci."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import onnxruntime as ort

from cnsifusion.inference import new_session

REGION_B, FOCI = "region_b.onnx", "foci.onnx"


@lru_cache(maxsize=2)
def network(file: str) -> ort.InferenceSession:
    """The network in ``file``, read once per process; on one thread, so that a head gives the same bits everywhere."""
    return new_session((files("cnsifusion.resources") / "template" / file).read_bytes(), threads=1)
