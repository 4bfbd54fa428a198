"""ONNX graphs on the CPU: those of a bundle, and the one that sees region B."""

from __future__ import annotations

import onnxruntime as ort


def new_session(model: bytes, threads: int = 2) -> ort.InferenceSession:
    """An ONNX Runtime session on the CPU that leaves the other processes of the machine alone (no spinning)."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
