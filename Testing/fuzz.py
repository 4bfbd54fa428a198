"""One fuzz target under atheris: python Testing/fuzz.py TARGET CORPUS [libFuzzer options].

TARGET: bundle (bundle.json), graph (ONNX), manifest, worker (one request), result (result.json), regions (their field).

Whatever the bytes, the readers raise the program's own errors and nothing else; the worker answers every line once.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

try:
    import atheris
except ModuleNotFoundError:
    sys.exit("atheris is missing")

with atheris.instrument_imports(include=["cnsifusion"]):
    from cnsifusion.analysis.result import parse_result
    from cnsifusion.analysis.worker import answer
    from cnsifusion.bundles import default_bundle_dir, load_bundle
    from cnsifusion.bundles.wire import GraphError, read_graph
    from cnsifusion.errors import BadInput, BundleError
    from cnsifusion.imaging import Grid
    from cnsifusion.roi import region_details
    from cnsifusion.roi.regions import RegionSet
    from cnsifusion.training.manifest import read_manifest

_GRID = Grid((8, 8, 8), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
FOLDER = Path(tempfile.mkdtemp())


def bundle(data: bytes) -> None:
    """The bytes as bundle.json beside the real graphs."""
    if not (FOLDER / "head.onnx").exists():
        for name in ("head.onnx", "model.onnx"):
            shutil.copy(default_bundle_dir() / name, FOLDER / name)
    (FOLDER / "bundle.json").write_bytes(data)
    with contextlib.suppress(BundleError):
        load_bundle(FOLDER)


def graph(data: bytes) -> None:
    """The bytes as an ONNX graph."""
    with contextlib.suppress(GraphError):
        read_graph(data)


def regions(data: bytes) -> None:
    """The bytes as the JSON field of a region file."""
    found = RegionSet(_GRID)
    with contextlib.suppress(BadInput):
        details = region_details.from_text(data.decode("latin-1"))
        if details is not None:
            region_details.apply(details, found, same_grid=True)


def manifest(data: bytes) -> None:
    """The bytes as manifest.csv."""
    (FOLDER / "manifest.csv").write_bytes(data)
    with contextlib.suppress(BadInput):
        read_manifest(FOLDER / "manifest.csv", folds=2)


def worker(data: bytes) -> None:
    """The bytes as one request line: exactly one last event, and never the "unexpected" one."""
    events: list[dict] = []
    answer(data.decode("utf-8", "replace"), events.append, _Nothing())
    ends = [e for e in events if e["event"] in ("done", "error")]
    assert len(ends) == 1 and ends[0].get("exit_code", 0) != 1, events
    json.dumps(events, ensure_ascii=False).encode()


def result(data: bytes) -> None:
    """The bytes as result.json."""
    with contextlib.suppress(BadInput):
        parse_result(data.decode("utf-8", "replace"))


class _Nothing:
    """Stands in for the analyzer: what is fuzzed here is the protocol, not the image readers."""

    def analyze(self, *arguments) -> None:
        raise BadInput("fuzzed")

    propose = check = analyze


SEEDS = {
    "bundle": [default_bundle_dir() / "bundle.json"],
    "graph": [default_bundle_dir() / "head.onnx"],
    "regions": [
        b'{"version": 1, "midplane": {"point": [0, 0, 0], "normal": [1, 0, 0]}, "foci": [{"side": "left", '
        b'"ijk": [1, 2, 3], "lps": [1.0, 2.0, 3.0], "diameter_mm": 2.0, "contrast_to_noise": 3.0, '
        b'"confidence": 0.9, "large": false, '
        b'"voxels": [[3, 2, 1]]}], "origin": {"PVS left": "automatic"}, "edited": [], "withheld": {}, "notes": ["a"]}'
    ],
    "manifest": [b"patient_id,image,rois,label\nA,a.nii.gz,,1\nB,b.nii.gz,b.seg.nrrd,0\n"],
    "worker": [b'{"id": "1", "command": "analyze", "image": "/a", "out": "/b", "rois": null}', b'{"command": "check"}'],
    "result": [b'{"schema": "cnsifusion.patient-result", "schema_version": 1, "patient": {}, "instances": []}'],
}
TARGETS = {
    "bundle": bundle, "graph": graph, "regions": regions, "manifest": manifest, "worker": worker, "result": result,
}  # fmt: skip

if __name__ == "__main__":
    target, corpus = sys.argv[1], Path(sys.argv[2])
    for index, seed in enumerate(SEEDS[target]):
        (corpus / f"seed{index}").write_bytes(seed if isinstance(seed, bytes) else seed.read_bytes())
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[target])
    atheris.Fuzz()
