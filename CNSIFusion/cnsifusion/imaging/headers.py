"""What ITK passes over in silence, read from the raw headers: missing voxels, no orientation, impossible geometry.

ITK fills missing voxels and those that are not numbers with zeros, replaces spacings and axes that are not numbers by
1 mm and straight axes, drops signs, guesses an orientation where a NIfTI file has none, and crashes on a MetaImage
header of many dimensions. Each would give a number for a head that is not there, or for the other side.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from cnsifusion.errors import BadInput
from cnsifusion.imaging.folders import check_letters

UNREADABLE = "The file cannot be read as an image: it is damaged, cut short or not of the type its name says."
_GEOMETRY = "The file's spacing, axes or origin are not usable numbers; export the image again."
_ELSEWHERE = "The header's voxels are in another folder, in several files or missing; put one voxel file beside it."
_NO_ORIENTATION = (
    "The file does not say how the head lies (its sform and qform codes are 0), so left and right are unknown; "
    "convert it from DICOM again."
)
_TWO_ORIENTATIONS = (
    "The file says in two ways how the head lies (sform and qform), and these contradict each other, so left and right "
    "are not certain; convert it from DICOM again."
)
#: Bits of a voxel by NIfTI datatype code; the header's own bitpix is not what readers go by.
_NIFTI_BITS = {2: 8, 4: 16, 8: 32, 16: 32, 64: 64, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64}
_NIFTI_FLOATS = (16, 64)
_BLOCK, _MAX_TRAILING, _MAX_TEXT_HEADER = 1 << 22, 1 << 26, 1 << 20
_MAX_UNPACKED = 1 << 31
_META_MAX_DIMENSIONS = 4


def check_header(path: Path, voxels: bool = True) -> None:
    """Raise BadInput where the image file at ``path`` (NIfTI, NRRD or MetaImage, by its name) cannot be trusted.

    ``voxels``: whether to read a NIfTI file's voxels too, for missing ones and those that are not numbers.
    """
    check_letters(path)
    name = path.name.lower()
    try:
        if name.endswith((".nii", ".nii.gz")):
            _check_nifti(path, voxels)
        elif name.endswith((".nrrd", ".nhdr")):
            _check_nrrd(path, _text_header(path, "\n\n")[0])
        else:
            _check_meta(path, _text_header(path, "ElementDataFile")[0])
    except (OSError, EOFError, zlib.error, struct.error, ValueError, OverflowError) as error:
        raise BadInput(UNREADABLE) from error


def voxel_file(path: Path) -> Path:
    """The file that holds the voxels of the one at ``path``: another where that is a header alone (.nhdr, .mhd).

    Raises BadInput where such a header names no file beside it, OSError where ``path`` cannot be read.
    """
    name, named = path.name.lower(), []
    if name.endswith((".nrrd", ".nhdr")):
        named = re.findall(r"(?mi)^data ?file:(.*)$", _text_header(path, "\n\n")[0])
    elif name.endswith((".mha", ".mhd")):
        word = _text_header(path, "ElementDataFile")[1].partition("\n")[0].strip(" \t=")
        named = [] if word.upper() == "LOCAL" else [word]
    return [_beside(path, one) for one in named][-1] if named else path


def _check_nifti(path: Path, voxels: bool) -> None:
    """NIfTI-1 (348 bytes) or NIfTI-2 (540 bytes): dim, datatype, pixdim, vox_offset, codes, quaternion and rows."""
    with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as stream:
        header = stream.read(348)
        order = "<" if header[:4] in (struct.pack("<i", 348), struct.pack("<i", 540)) else ">"
        second = header[:4] == struct.pack(order + "i", 540)
        header += stream.read(540 - 348) if second else b""

        def field(kinds: tuple[str, str], offsets: tuple[int, int]) -> tuple:
            return struct.unpack_from(order + kinds[second], header, offsets[second])

        dims, (datatype,) = field(("8h", "8q"), (40, 16)), field(("h", "h"), (70, 12))
        (offset,) = field(("f", "q"), (108, 168))
        pixdim = field(("8f", "8d"), (76, 104))
        qform, sform = field(("2h", "2i"), (252, 344))
        quaternion, rows = field(("6f", "6d"), (256, 352)), field(("12f", "12d"), (280, 400))
        numbers = [*pixdim[1:4], *(quaternion if qform > 0 else ()), *(rows if sform > 0 else ())]
        if not all(map(math.isfinite, numbers)) or min(pixdim[1:4]) <= 0:
            raise BadInput(_GEOMETRY)
        if qform <= 0 and sform <= 0:
            raise BadInput(_NO_ORIENTATION)
        if qform > 0 and sform > 0 and _opposite(quaternion, pixdim[0], rows):
            raise BadInput(_TWO_ORIENTATIONS)
        bits = _NIFTI_BITS.get(datatype)
        if bits is None or not voxels:
            return  # colour, complex or unknown: the reader's own sentences tell
        _skip(stream, int(offset) - len(header))
        kind = np.dtype(f"{order}f{bits // 8}") if datatype in _NIFTI_FLOATS else None
        _check_voxels(stream, math.prod(dims[1 : dims[0] + 1]) * bits // 8, kind)
        _skip(stream, _MAX_TRAILING)  # to the checksum that ends a .gz


def _opposite(quaternion: tuple, handedness: float, rows: tuple) -> bool:
    """Whether an axis of the voxels points one way by the qform and the other way by the sform."""
    b, c, d = quaternion[:3]
    a = math.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    axes = np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ])  # fmt: skip
    axes[:, 2] *= -1 if handedness < 0 else 1
    return bool(np.any((axes * np.array(rows).reshape(3, 4)[:, :3]).sum(axis=0) < 0))


def _check_voxels(stream, missing: int, kind: np.dtype | None) -> None:
    """Refuse when fewer than ``missing`` bytes follow or, for the floating type ``kind``, one is not a number.

    Reads in blocks, so that a gzip bomb takes no memory.
    """
    while missing > 0 and (block := stream.read(min(missing, _BLOCK))):
        missing -= len(block)
        if kind is not None and not np.isfinite(np.frombuffer(block[: len(block) & -8], kind)).all():
            raise BadInput("Voxels of the image are not numbers (NaN or infinite); export the image again.")
    if missing > 0:
        raise BadInput(UNREADABLE)


def _skip(stream, count: int) -> None:
    while count > 0 and (block := stream.read(min(count, _BLOCK))):
        count -= len(block)


def _check_nrrd(path: Path, text: str) -> None:
    voxels = voxel_file(path)
    vectors = re.findall(r"(?mi)^space (?:directions|origin):(.*)$", text)
    numbers = [float(word) for line in vectors for word in re.findall(r"[^\s(),]+", line) if word.lower() != "none"]
    spacings = re.findall(r"(?mi)^spacings:(.*)$", text)
    numbers += [float(word) for line in spacings for word in line.split()]
    if not np.all(np.isfinite(numbers)):
        raise BadInput(_GEOMETRY)
    skips = re.search(r"(?mi)^(line|byte) ?skip:", text)
    if re.search(r"(?mi)^encoding: *(gz|gzip) *$", text) and not skips:
        _check_gzip(voxels, None if voxels == path else 0)


def _check_gzip(path: Path, start: int | None) -> None:
    """Read gzip voxels to their checksum (``start`` None: after a blank line): ITK takes what a damaged stream gave."""
    with path.open("rb") as stream:
        if start is None:
            head = stream.read(_MAX_TEXT_HEADER)
            ends = [at + len(gap) for gap in (b"\n\n", b"\r\n\r\n") if (at := head.find(gap)) >= 0]
            start = min(ends, default=0)
        stream.seek(start)
        with gzip.open(stream) as unpacked:
            _skip(unpacked, _MAX_UNPACKED)


def _check_meta(path: Path, text: str) -> None:
    voxel_file(path)
    fields = {key.lower(): value for key, value in re.findall(r"(?m)^\s*(\w+)\s*=[ \t]*(.*?)\s*$", text)}
    if not 1 <= int(fields.get("ndims", "0")) <= _META_MAX_DIMENSIONS:
        raise BadInput(UNREADABLE)
    spacing = [float(word) for word in fields.get("elementspacing", "1").split()]
    places = ("transformmatrix", "rotation", "orientation", "offset", "position", "origin")
    others = [float(word) for key in places for word in fields.get(key, "").split()]
    if min(spacing) <= 0 or not np.all(np.isfinite([*spacing, *others])):
        raise BadInput(_GEOMETRY)


def _beside(path: Path, named: str) -> Path:
    """A header from a stranger must not open other files of this computer: pipes, devices, or files elsewhere."""
    name = named.strip().removeprefix("./")
    if not name or set(name) & set("/\\%\0") or not (path.parent / name).is_file():
        raise BadInput(_ELSEWHERE)
    return path.parent / name


def _text_header(path: Path, end: str) -> tuple[str, str]:
    """The text before ``end`` and after it; raises BadInput where a whole megabyte holds no end."""
    with path.open("rb") as stream:
        text = stream.read(_MAX_TEXT_HEADER).decode("latin-1").replace("\r\n", "\n")
    if end not in text and len(text) >= _MAX_TEXT_HEADER - text.count("\n"):
        raise BadInput(UNREADABLE)
    before, _, after = text.partition(end)
    return before, after
