"""Hostile region files, DICOM SEGs, results, manifests and settings: each builder writes one and returns its path."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote

import hostile_files
import numpy as np

from cnsifusion.imaging import Volume
from cnsifusion.roi.names import SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT, VENTRICLES
from cnsifusion.roi.region_details import FIELD
from cnsifusion.roi.region_io import write_regions
from cnsifusion.roi.regions import Focus, Plane, RegionSet

HEAD = hostile_files.head_like((60, 70, 12), (2.5, 2.5, 9.0))


def regions(volume: Volume = HEAD) -> RegionSet:
    """Three blocks inside the head with all that a region file can hold besides masks."""
    found = RegionSet(volume.grid, midplane=Plane((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)), notes=["drawn for a test"])
    for number, name in enumerate((VENTRICLES, SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT)):
        found.masks[name] = np.zeros(volume.grid.shape, bool)
        found.masks[name][4:8, 20 + 9 * number : 28 + 9 * number, 20:30] = True
        found.origin[name] = "automatic"
    voxels = np.array([[5, 22, 24], [5, 22, 25]])
    x, y, z = volume.grid.to_lps(np.array([24, 22, 5])).tolist()
    found.foci = [Focus("left", (24, 22, 5), (x, y, z), 2.0, 3.0, 0.9, False, voxels)]
    return found


def good_seg(folder: Path) -> Path:
    """A whole region file."""
    write_regions(regions(), folder / "good.seg.nrrd")
    return folder / "good.seg.nrrd"


def seg(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """A region file whose bytes were changed."""

    def build(folder: Path) -> Path:
        path = folder / "x.seg.nrrd"
        path.write_bytes(change(good_seg(folder).read_bytes()))
        return path

    return build


def header(old: str, new: str) -> Callable[[Path], Path]:
    """A region file with a word of its header replaced, everywhere it stands."""

    def change(content: bytes) -> bytes:
        head, gap, voxels = content.partition(b"\n\n")
        assert old.encode() in head, old
        return head.replace(old.encode(), new.encode()) + gap + voxels

    return seg(change)


def details(change: Callable[[dict], object] | str) -> Callable[[Path], Path]:
    """A region file with another JSON field: changed values, or any text."""

    def edit(content: bytes) -> bytes:
        head, gap, voxels = content.partition(b"\n\n")
        lines = head.decode().splitlines()
        at = next(n for n, line in enumerate(lines) if line.startswith(FIELD))
        if isinstance(change, str):
            text = change
        else:
            values = json.loads(unquote(lines[at].partition(":=")[2]))
            change(values)
            text = json.dumps(values)
        lines[at] = f"{FIELD}:=" + quote(text, safe='{}[],.:" ')
        return "\n".join(lines).encode() + gap + voxels

    return seg(edit)


def labelmap(suffix: str, text: str, content: bytes = b"") -> Callable[[Path], Path]:
    """A region file of another type."""
    return hostile_files.text(f"x{suffix}", text, content)


def pipe(folder: Path) -> Path:
    """A named pipe with a region file's name: reading it would wait for ever."""
    os.mkfifo(folder / "x.seg.nrrd")
    return folder / "x.seg.nrrd"


def many_segments(content: bytes) -> bytes:
    """Twenty thousand names for the same voxels."""
    head, gap, voxels = content.partition(b"\n\n")
    more = "".join(f"\nSegment{n}_Name:=CSF ventricles" for n in range(10, 20_010)).encode()
    return head + more + gap + voxels


def put(*keys: str | int, value: object) -> Callable[[dict], None]:
    """Sets a value somewhere inside nested JSON values."""

    def change(values: dict) -> None:
        place = values
        for key in keys[:-1]:
            place = place[key]  # type: ignore[index]
        place[keys[-1]] = value  # type: ignore[index]

    return change


nan = float("nan")
REGION_FILES: dict[str, Callable[[Path], Path]] = {
    "nothing there": lambda f: f / "none.seg.nrrd",
    "empty": seg(lambda b: b""),
    "cut in its header": seg(lambda b: b[:200]),
    "cut in its voxels": seg(lambda b: b[:-40]),
    "voxels flipped": seg(lambda b: b[:-200] + bytes(200)),
    "a named pipe": pipe,
    "a name of 4000 letters": lambda f: f / ("x" * 4000 + ".seg.nrrd"),
    "giant size": header("sizes: 60 70 12", "sizes: 60000 70000 1200"),
    "giant layers": header("dimension: 3\nspace: left-posterior-superior\nsizes: 60 70 12",
                           "dimension: 4\nspace: left-posterior-superior\nsizes: 4000 600 700 120"),
    "size zero": header("sizes: 60 70 12", "sizes: 0 70 12"),
    "axes not numbers": header("(2.5,0.0,0.0)", "(nan,0.0,0.0)"),
    "singular axes": header("(2.5,0.0,0.0)", "(0.0,2.5,0.0)"),
    "origin not a number": header("space origin: (", "space origin: (nan"),
    "label of words": header("LabelValue:=1", "LabelValue:=one"),
    "layer beyond the last": header("_Layer:=0", "_Layer:=7"),
    "no name of the protocol": header("Name:=", "Name:=Liver "),
    "twenty thousand segments": seg(many_segments),
    "voxels from a device": header("encoding: gzip", "encoding: raw\ndata file: /dev/zero"),
    "voxels from another folder": header("encoding: gzip", "encoding: raw\ndata file: ../other.raw"),
    "another head": header("space origin: (", "space origin: (90000"),
    "labels of fractions": labelmap(".nrrd", hostile_files.nrrd(type="float", sizes="10 10 10"),
                                    np.linspace(0, 1, 1000, dtype="<f4").tobytes()),
    "an image, not labels": labelmap(".nrrd", hostile_files.nrrd(sizes="60 70 12"),
                                     np.arange(60 * 70 * 12, dtype="<i2").tobytes()),
    "background alone": labelmap(".nrrd", hostile_files.nrrd(sizes="60 70 12"), bytes(60 * 70 * 12 * 2)),
    "meta of many dimensions": labelmap(".mha", hostile_files.mha(NDims="1000"), bytes(100)),
    "nifti of nothing": lambda f: (p := f / "x.nii.gz", p.write_bytes(b"\x1f\x8b"))[0],
    "a folder without DICOM": lambda f: f,
    "a text file called DICOM": lambda f: (p := f / "x.dcm", p.write_text("hello"))[0],
    "details no JSON": details("{"),
    "details a list": details("[1]"),
    "details too deep": details("[" * 20_000),
    "details without foci": details(lambda d: d.pop("foci")),
    "a focus outside": details(put("foci", 0, "voxels", value=[[5, 22, 60_000]])),
    "a focus of astronomic voxels": details(put("foci", 0, "voxels", value=[[10**30, 0, 0]])),
    "a focus of no voxels": details(put("foci", 0, "voxels", value=[])),
    "a focus of words": details(put("foci", 0, "diameter_mm", value="wide")),
    "a focus not a number": details(put("foci", 0, "confidence", value=nan)),
    "a focus on a third side": details(put("foci", 0, "side", value="front")),
    "foci no list": details(put("foci", value={"a": 1})),
    "midplane of two numbers": details(put("midplane", "point", value=[1, 2])),
    "midplane without direction": details(put("midplane", "normal", value=[0, 0, 0])),
    "origin of an unknown region": details(put("origin", "Liver", value="manual")),
    "notes no list": details(put("notes", value=7)),
    "withheld no text": details(put("withheld", VENTRICLES, value=[1])),
    "edited of objects": details(put("edited", value=[{}])),
}  # fmt: skip

#: What a stranger's result.json may hold in place of good values.
RESULTS: dict[str, Callable[[dict], object]] = {
    "another schema": put("schema", value="other"),
    "another version": put("schema_version", value=99),
    "nothing": lambda r: r.clear(),
    "an unknown field": put("more", value=1),
    "no patient": lambda r: r.pop("patient"),
    "probability of words": put("patient", "probability", value="high"),
    "probability above one": put("patient", "probability", value=1.5),
    "probability no number": put("patient", "probability", value=nan),
    "prevalence zero": put("patient", "training_prevalence", value=0),
    "instances no list": put("instances", value={}),
    "instance without place": put("instances", 0, "position_mm", value=[1, 2]),
    "instance above one": put("instances", 0, "probability", value=7),
    "contributions of texts": put("contributions", value=["a"]),
    "an unknown region": put("region", value="liver"),
    "statistics empty": put("statistics", value={}),
    "statistics of words": put("statistics", "segments", value={VENTRICLES: {"volume_ml": "much"}}),
    "an unknown segment": put("statistics", "segments", value={"<script>": {}}),
    "pvs empty": put("pvs", value={}),
    "provenance empty": put("provenance", value={}),
    "key images elsewhere": put("files", "key_images", value="../../../../etc/hostname"),
    "key images by absolute path": put("files", "key_images", value="/etc/hostname"),
    "key images no file": put("files", "key_images", value=""),
    "key images missing": put("files", value={}),
    "key images no picture": put("files", "key_images", value="result.json"),
}

MANIFESTS: dict[str, bytes] = {
    "empty": b"",
    "no columns": b"a,b\n1,2\n",
    "no patients": b"patient_id,image,rois,label\n",
    "not UTF-8": b"patient_id,image,rois,label\n\xff\xfe,a,b,1\n",
    "two columns of a name": b"patient_id,image,rois,label,label\nA,a,,1,0\n",
    "a cell of 200 000 letters": b"patient_id,image,rois,label\n" + b"x" * 200_000 + b",a,,1\n",
    "a path of 5000 letters": b"patient_id,image,rois,label\nA," + b"x" * 5000 + b",,1\n",
    "a path with a null": b"patient_id,image,rois,label\nA,a\0b,,1\n",
    "quotes that never end": b'patient_id,image,rois,label\nA,"' + b"x\n" * 1000,
    "labels of words": b"patient_id,image,rois,label\nA,manifest.csv,,yes\n",
    "a meta image of many dimensions": b"patient_id,image,rois,label\nA,x.mha,x.mha,1\nB,x.mha,x.mha,0\n",
    "a manifest as its own image": b"patient_id,image,rois,label\nA,manifest.csv,manifest.csv,1\n",
    "a folder as manifest": b"",
}

SETTINGS: dict[str, bytes] = {
    "no JSON": b"{",
    "not UTF-8": b"\xff\xfe",
    "a list": b"[1]",
    "a text": b'"abc"',
    "too deep": b"[" * 20_000,
    "unknown name": b'{"colour": 1}',
    "texts for numbers": b'{"log_sigmas_mm": ["wide"], "feature_counts": ["few"]}',
    "infinite": b'{"distances": [Infinity], "learning_rate": NaN}',
    "astronomic": b'{"distances": [1e400], "folds": 1e400}',
    "objects for lists": b'{"log_sigmas_mm": {"a": 1}, "checkpoints": {"a": 1}}',
    "null": b'{"bin_width": null, "patches": null, "folds": null}',
    "a bad inner name": b'{"preparation": {"colour": 1}, "feature_classes": [["a"]]}',
}
