"""Hostile DICOM folders: a good series of a head-sized volume with one fault each."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hostile_files import Builder, head_like
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLSLossless, RLELossless, generate_uid

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "imaging"))
from dicom_files import data_sets, no_preamble, write_enhanced, write_series

SMALL = head_like((110, 120, 22), (1.0, 1.0, 6.0))


def series(change: Callable[[list[Path]], object], **tags) -> Builder:
    """A classic series whose files were changed after writing."""

    def build(folder: Path) -> Path:
        paths = sorted(write_series(SMALL, folder / "series", **tags))
        change(paths)
        return folder / "series"

    return build


def edited(change: Callable[[pydicom.Dataset], object], which: slice = slice(0, 1)) -> Builder:
    """A classic series with the headers of some files changed."""

    def change_all(paths: list[Path]) -> None:
        for path in paths[which]:
            header = pydicom.dcmread(path)
            change(header)
            header.save_as(path)

    return series(change_all)


def put(**tags) -> Callable[[pydicom.Dataset], None]:
    """Sets header fields without pydicom's own checks of their values."""

    def change(header: pydicom.Dataset) -> None:
        with pydicom.config.disable_value_validation():
            for name, value in tags.items():
                setattr(header, name, value)

    return change


def raw(name: str, vr: str, value: bytes) -> Callable[[pydicom.Dataset], None]:
    """Puts raw bytes into one element, as a broken writer would."""
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    def change(header: pydicom.Dataset) -> None:
        tag = Tag(name)
        header._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)

    return change


def tilted(header: pydicom.Dataset) -> None:
    """Shifts a slice as a tilted gantry does: sideways by half its height."""
    x, y, z = (float(v) for v in header.ImagePositionPatient)
    header.ImagePositionPatient = [x, y + 0.3 * z, z]


def deflated_bomb(folder: Path) -> Path:
    """Deflated files, one of them 0.1 MB that unpack to 100 MB of empty elements."""
    path = sorted(write_series(SMALL, folder / "series"))[0]
    for other in path.parent.iterdir():
        header = pydicom.dcmread(other)
        header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        header.save_as(other, enforce_file_format=True)
    content = path.read_bytes()
    end_of_meta = 132 + 12 + int.from_bytes(content[140:144], "little")
    packer = zlib.compressobj(9, wbits=-15)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(100)) + packer.flush()
    path.write_bytes(content[:end_of_meta] + packed)
    return path.parent


def hidden_bomb(folder: Path) -> Path:
    """The same behind so long a version field that the transfer syntax stands two kilobytes into the files."""
    version, long = (b"\x02\x00\x01\x00OB\x00\x00" + struct.pack("<I", n) + bytes(n - 1) + b"\x01" for n in (2, 2000))
    where = deflated_bomb(folder)
    for path in where.iterdir():
        content = path.read_bytes()
        assert version in content
        path.write_bytes(content.replace(version, long, 1))
    return where


def two(first: dict, second: dict) -> Builder:
    """Two series in one folder."""

    def build(folder: Path) -> Path:
        write_series(SMALL, folder / "series" / "a", **first)
        write_series(SMALL, folder / "series" / "b", **second)
        return folder / "series"

    return build


def bare_bomb(folder: Path) -> Path:
    """The same without the preamble, where the transfer syntax is not asked for at its usual place."""
    where = hidden_bomb(folder)
    for path in where.iterdir():
        path.write_bytes(path.read_bytes()[132:])
    return where


def after(first: Callable[[list[Path]], object], then: Callable[[list[Path]], object]) -> Builder:
    """A classic series changed twice."""
    return series(lambda paths: (first(paths), then(paths)))


def enhanced(change: Callable[[pydicom.Dataset], object]) -> Builder:
    """An enhanced multi-frame file with its header changed."""

    def build(folder: Path) -> Path:
        path = folder / "series" / "one.dcm"
        write_enhanced(SMALL, path)
        header = pydicom.dcmread(path)
        change(header)
        header.save_as(path)
        return path.parent

    return build


def cut(paths: list[Path]) -> None:
    """The last third of one file is missing."""
    paths[3].write_bytes(paths[3].read_bytes()[: paths[3].stat().st_size * 2 // 3])


def cut_header(length: int) -> Callable[[list[Path]], object]:
    """The outermost slice ends in its header, so that those that are left make a whole, shorter head."""

    def change(paths: list[Path]) -> None:
        last = max(paths, key=lambda path: pydicom.dcmread(path, stop_before_pixels=True).InstanceNumber)
        last.write_bytes(last.read_bytes()[:length])

    return change


def _renamed(content: bytes) -> bytes:
    """Plain pixels whose header says RLE (an identifier of the same length)."""
    return content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0", 1)


every = slice(None)
same = generate_uid()

FOLDERS: dict[str, Builder] = {
    "all files empty": series(lambda paths: [p.write_bytes(b"") for p in paths]),
    "one file cut in its pixels": series(cut),
    "the last slice cut before its series": series(cut_header(600)),
    "the last slice cut after its series": series(cut_header(850)),
    "a slice missing": edited(put(SeriesInstanceUID=same), every) and series(
        lambda paths: min(paths[1:-1], key=lambda p: abs(pydicom.dcmread(p).InstanceNumber - 11)).unlink()
    ),
    "a slice twice": series(lambda paths: (paths[0].parent / "copy").write_bytes(paths[0].read_bytes())),
    "two series": two({}, {}),
    "two times in one series": two({"SeriesInstanceUID": same}, {"SeriesInstanceUID": same}),
    "slices of two sizes": edited(put(Rows=60)),
    "slices of two spacings": edited(put(PixelSpacing=[2, 2])),
    "slices of two orientations": edited(put(ImageOrientationPatient=[0, 1, 0, 0, 0, -1])),
    "tilted gantry": edited(tilted, every),
    "one slice": series(lambda paths: [p.unlink() for p in paths[1:]]),
    "colour": edited(put(SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0), every),
    "computed tomography": edited(put(Modality="CT"), every),
    "no position": edited(lambda h: h.pop("ImagePositionPatient"), every),
    "position of two numbers": edited(put(ImagePositionPatient=[1, 2]), every),
    "position of words": edited(raw("ImagePositionPatient", "DS", b"here\\there\\up"), every),
    "orientation all zero": edited(put(ImageOrientationPatient=[0] * 6), every),
    "orientation of four numbers": edited(put(ImageOrientationPatient=[1, 0, 0, 1]), every),
    "orientation not at right angles": edited(put(ImageOrientationPatient=[1, 0, 0, 0.8, 0.6, 0]), every),
    "spacing zero": edited(put(PixelSpacing=[0, 0]), every),
    "spacing negative": edited(put(PixelSpacing=[-1, 1]), every),
    "spacing not a number": edited(raw("PixelSpacing", "DS", b"nan\\nan "), every),
    "spacing of one number": edited(put(PixelSpacing=[1]), every),
    "spacing of words": edited(raw("PixelSpacing", "DS", b"abc\\def "), every),
    "no rows": edited(put(Rows=0), every),
    "rows that are not there": edited(put(Rows=60000, Columns=60000), every),
    "no columns field": edited(lambda h: h.pop("Columns"), every),
    "pixels cut to a tenth": edited(lambda h: put(PixelData=h.PixelData[:2600])(h), every),
    "no pixels": edited(lambda h: h.pop("PixelData"), every),
    "bits of no type": edited(put(BitsAllocated=13, BitsStored=13, HighBit=12), every),
    "unknown transfer syntax": edited(lambda h: setattr(h.file_meta, "TransferSyntaxUID", "1.2.3.4"), every),
    "says run-length coded, is not": series(
        lambda paths: [p.write_bytes(_renamed(p.read_bytes())) for p in paths]
    ),
    "data sets, one cut in its pixels": after(data_sets, cut),
    "data sets, the last slice cut in its header": after(cut_header(600), data_sets),
    "words that begin as a data set does": series(
        lambda paths: [p.write_bytes(b"\x08\x00\x16\x00UI\x1a\x00" + b"not an image " * 200) for p in paths]
    ),
    "deflated bomb": deflated_bomb,
    "deflated bomb behind a long meta header": hidden_bomb,
    "deflated bomb without a preamble": bare_bomb,
    "enhanced without frames": enhanced(put(PerFrameFunctionalGroupsSequence=[])),
    "enhanced with a million frames": enhanced(put(NumberOfFrames=1_000_000)),
    "enhanced with fewer frames": enhanced(put(NumberOfFrames=3)),
    "enhanced with empty groups": enhanced(
        lambda h: setattr(h, "PerFrameFunctionalGroupsSequence", [pydicom.Dataset() for _ in range(22)])
    ),
    "enhanced without shared groups": enhanced(lambda h: h.pop("SharedFunctionalGroupsSequence")),
    "enhanced with empty shared groups": enhanced(put(SharedFunctionalGroupsSequence=[])),
}  # fmt: skip

#: Header fields of no importance to the geometry that are odd: the series must read to the same voxels.
ODD_BUT_GOOD: dict[str, Builder] = {
    "matrix of one number": edited(raw("AcquisitionMatrix", "US", b"\x20\x00"), every),
    "age of words": edited(put(PatientAge="OLD"), every),
    "field strength of words": edited(raw("MagneticFieldStrength", "DS", b"strong"), every),
    "echo time of two numbers": edited(put(EchoTime=[90, 100]), every),
    "undecodable name": edited(raw("PatientName", "PN", b"\xff\xfe\x00\x81"), every),
    "an unknown character set": edited(put(SpecificCharacterSet="ISO_IR 9999"), every),
    "notes beside the images": series(lambda paths: (paths[0].parent / "notes.txt").write_text("x" * 5000)),
    "no preamble": series(no_preamble),
    "data sets without a meta header": series(data_sets),
    "data sets with types without a meta header": series(lambda paths: data_sets(paths, implicit=False)),
    "an empty file beside the images": series(lambda paths: (paths[0].parent / "empty").write_bytes(b"")),
}


def rle(folder: Path) -> Path:
    """RLE Lossless by pydicom's own encoder."""
    return _compressed(folder, lambda header: header.compress(RLELossless))


def jpeg_ls(folder: Path) -> Path:
    """JPEG-LS Lossless by pyjpegls."""
    pytest.importorskip("jpeg_ls", reason="writing JPEG-LS needs pyjpegls (extra 'dicom')")
    return _compressed(folder, lambda header: header.compress(JPEGLSLossless))


def _compressed(folder: Path, change: Callable[[pydicom.Dataset], object]) -> Path:
    for path in write_series(SMALL, folder / "series"):
        header = pydicom.dcmread(path)
        change(header)
        header.save_as(path, enforce_file_format=True)
    return folder / "series"


def gdcm(compressor: str) -> Builder:
    """JPEG and JPEG 2000 lossless by GDCM's encoders, one file per slice, tags carried over."""

    def build(folder: Path) -> Path:
        (folder / "series").mkdir()
        for path in write_series(SMALL, folder / "plain"):
            image = sitk.ReadImage(str(path), sitk.sitkUInt16, "GDCMImageIO")
            writer = sitk.ImageFileWriter()
            writer.SetImageIO("GDCMImageIO")
            writer.KeepOriginalImageUIDOn()
            writer.UseCompressionOn()
            writer.SetCompressor(compressor)
            writer.SetFileName(str(folder / "series" / f"{path.name}.dcm"))
            writer.Execute(image)
        return folder / "series"

    return build


COMPRESSED: dict[str, Builder] = {
    "RLE": rle, "JPEG-LS": jpeg_ls, "JPEG lossless": gdcm("JPEG"), "JPEG 2000": gdcm("JPEG2000"),
}  # fmt: skip


def expected() -> np.ndarray:
    """The voxels every good folder must give."""
    return SMALL.array.round()
