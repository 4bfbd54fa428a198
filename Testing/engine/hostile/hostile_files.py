"""Hostile image files and folders: each builder writes one below a folder and returns the path to give the program."""

from __future__ import annotations

import gzip
import os
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cnsifusion.imaging import Grid, Volume, write_volume

Builder = Callable[[Path], Path]
#: Byte offsets in a NIfTI-1 header.
DIM, DATATYPE, BITPIX, PIXDIM, VOX_OFFSET, SLOPE, QFORM, SFORM, QUATERN, SROW, MAGIC = (
    40, 70, 72, 76, 108, 112, 252, 254, 256, 280, 344,
)  # fmt: skip


def head_like(
    size: tuple[int, int, int] = (160, 190, 22), spacing: tuple[float, float, float] = (1.0, 1.0, 6.0)
) -> Volume:
    """An ellipsoid of noise in air with a head's size: passes every check of geometry and values."""
    rng = np.random.default_rng(3)
    grid = Grid(size, spacing, (-90.0, -100.0, -60.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in grid.shape), indexing="ij")
    array = np.where(k**2 + j**2 + i**2 < 0.8, 300, 5) + rng.integers(0, 60, grid.shape)
    return Volume(array.astype(np.float32), grid)


def plain_nifti() -> bytearray:
    """A good NIfTI-1 file's bytes (int16, sform and qform set)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.nii"
        sitk.WriteImage(sitk.Cast(head_like().to_sitk(), sitk.sitkInt16), str(path))
        return bytearray(path.read_bytes())


def patched(*patches: tuple[int, str, tuple], suffix: str = ".nii") -> Builder:
    """A NIfTI file with header fields overwritten: (offset, struct format, values)."""

    def build(folder: Path) -> Path:
        content = plain_nifti()
        for offset, kind, values in patches:
            struct.pack_into("<" + kind, content, offset, *values)
        path = folder / f"x{suffix}"
        path.write_bytes(gzip.compress(bytes(content), 1) if suffix.endswith("gz") else bytes(content))
        return path

    return build


def voxels(change: Callable[[np.ndarray], np.ndarray], kind: int = sitk.sitkFloat64) -> Builder:
    """A good geometry with other voxel values."""

    def build(folder: Path) -> Path:
        volume = head_like()
        image = sitk.GetImageFromArray(change(volume.array.astype(np.float64)).astype(np.float64))
        image.SetSpacing(volume.spacing)
        image.SetOrigin(volume.grid.origin)
        sitk.WriteImage(sitk.Cast(image, kind), str(folder / "x.nii.gz"), useCompression=True)
        return folder / "x.nii.gz"

    return build


def sized(size: tuple[int, int, int], spacing: tuple[float, float, float]) -> Builder:
    """A whole, readable volume of another shape."""

    def build(folder: Path) -> Path:
        write_volume(head_like(size, spacing), folder / "x.nrrd")
        return folder / "x.nrrd"

    return build


def text(name: str, header: str, content: bytes = b"", **files: bytes) -> Builder:
    """A file with a text header (NRRD, MetaImage) and bytes after it."""

    def build(folder: Path) -> Path:
        for other, data in files.items():
            (folder / other).write_bytes(data)
        (folder / name).write_bytes(header.encode() + content)
        return folder / name

    return build


def nrrd(**fields: str) -> str:
    """A NRRD header of a 160 x 190 x 22 int16 image with some fields replaced (None leaves one out)."""
    values = {
        "type": "short", "dimension": "3", "space": "left-posterior-superior", "sizes": "160 190 22",
        "space_directions": "(1,0,0) (0,1,0) (0,0,6)", "kinds": "domain domain domain", "endian": "little",
        "encoding": "raw", "space_origin": "(0,0,0)", **fields,
    }  # fmt: skip
    return "NRRD0004\n" + "".join(f"{k.replace('_', ' ')}: {v}\n" for k, v in values.items()) + "\n"


def mha(**fields: str) -> str:
    """A MetaImage header of a 160 x 190 x 22 int16 image with some fields replaced."""
    values = {
        "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "0 0 0", "ElementSpacing": "1 1 6", "DimSize": "160 190 22",
        "ElementType": "MET_SHORT", "ElementDataFile": "LOCAL", **fields,
    }  # fmt: skip
    last = values.pop("ElementDataFile")
    return "".join(f"{k} = {v}\n" for k, v in values.items()) + f"ElementDataFile = {last}\n"


RAW = np.random.default_rng(5).integers(0, 400, 160 * 190 * 22).astype("<i2").tobytes()


def gzip_bomb(claimed: tuple[int, int, int], megabytes: int, suffix: str = ".nii.gz") -> Builder:
    """A few kB that unpack to ``megabytes`` of zeros behind a header that claims ``claimed`` int16 voxels."""

    def build(folder: Path) -> Path:
        head = plain_nifti()[:352]
        struct.pack_into("<8h", head, DIM, 3, *claimed, 1, 1, 1, 1)
        packer = zlib.compressobj(9, wbits=31)
        path = folder / f"x{suffix}"
        with path.open("wb") as stream:
            if suffix == ".nrrd":
                stream.write(nrrd(encoding="gzip", sizes=" ".join(map(str, claimed))).encode())
            else:
                stream.write(packer.compress(bytes(head)))
            for _ in range(megabytes):
                stream.write(packer.compress(bytes(1 << 20)))
            stream.write(packer.flush())
        return path

    return build


def damaged_gzip(change: Callable[[bytes], bytes]) -> Builder:
    """A good .nii.gz whose compressed bytes were changed."""

    def build(folder: Path) -> Path:
        path = folder / "x.nii.gz"
        path.write_bytes(change(gzip.compress(bytes(plain_nifti()), 1, mtime=0)))
        return path

    return build


def damaged_voxels(suffix: str, voxels: str = "") -> Builder:
    """A compressed file whose last voxels (of the file ``voxels``, if they are apart) were overwritten."""

    def build(folder: Path) -> Path:
        write = sitk.ImageFileWriter()
        write.SetFileName(str(folder / f"x{suffix}"))
        write.UseCompressionOn()
        write.Execute(sitk.Cast(head_like().to_sitk(), sitk.sitkInt16))
        path = folder / (voxels or f"x{suffix}")
        content = path.read_bytes()
        path.write_bytes(content[:-400] + bytes(400))
        return folder / f"x{suffix}"

    return build


def pipe(folder: Path) -> Path:
    """A named pipe that nobody writes to: reading it would wait for ever."""
    os.mkfifo(folder / "x.nii")
    return folder / "x.nii"


def link_loop(folder: Path) -> Path:
    """A link to itself."""
    (folder / "x.nii").symlink_to(folder / "x.nii")
    return folder / "x.nii"


nan, inf = float("nan"), float("inf")

FILES: dict[str, Builder] = {
    "nifti zero spacing": patched((PIXDIM + 4, "3f", (0, 1, 6)), (SFORM, "h", (0,))),
    "nifti negative spacing": patched((PIXDIM + 4, "3f", (-1, 1, 6)), (SFORM, "h", (0,)), (SROW, "12f", (0,) * 12)),
    "nifti spacing not a number": patched((PIXDIM + 4, "3f", (nan, nan, nan)), (SROW, "12f", (nan,) * 12)),
    "nifti infinite spacing": patched((PIXDIM + 4, "3f", (inf, inf, inf)), (SROW, "12f", (inf,) * 12)),
    "nifti astronomic spacing": patched((PIXDIM + 4, "3f", (1e30,) * 3), (SFORM, "h", (0,)), (QFORM, "h", (0,))),
    "nifti singular axes": patched((SROW, "12f", (1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 6, 0)), (QFORM, "h", (0,))),
    "nifti sheared axes": patched((SROW, "12f", (1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0, 6, 0)), (QFORM, "h", (0,))),
    "nifti without orientation": patched((QFORM, "2h", (0, 0))),
    "nifti sides by sform against those by qform": patched((SROW, "12f", (1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 6, 0))),
    "nifti axes all zero": patched((SROW, "12f", (0,) * 12), (QFORM, "h", (0,))),
    "nifti quaternion not a number": patched((QUATERN, "6f", (nan,) * 6), (SFORM, "h", (0,)), (QFORM, "h", (1,))),
    "nifti nine dimensions": patched((DIM, "h", (9,))),
    "nifti negative dimensions": patched((DIM, "h", (-3,))),
    "nifti size zero": patched((DIM + 2, "3h", (0, 190, 22))),
    "nifti negative size": patched((DIM + 2, "3h", (-160, 190, 22))),
    "nifti giant size": patched((DIM + 2, "3h", (32767, 32767, 32767))),
    "nifti giant fourth dimension": patched((DIM, "5h", (4, 160, 190, 22, 32767))),
    "nifti unknown voxel type": patched((DATATYPE, "h", (9999,))),
    "nifti colour": patched((DATATYPE, "2h", (128, 24)), (DIM + 2, "3h", (50, 190, 22))),
    "nifti complex": patched((DATATYPE, "2h", (32, 64)), (DIM + 2, "3h", (40, 190, 22))),
    "nifti bit size that lies": patched((BITPIX, "h", (1,)), (DIM + 2, "3h", (400, 190, 22))),
    "nifti voxels beyond the end": patched((VOX_OFFSET, "f", (1e9,))),
    "nifti voxels before the start": patched((VOX_OFFSET, "f", (-1e9,)), (DIM + 2, "3h", (400, 190, 22))),
    "nifti voxel place not a number": patched((VOX_OFFSET, "f", (nan,))),
    "nifti voxel place infinite": patched((VOX_OFFSET, "f", (inf,)), suffix=".nii.gz"),
    "nifti wrong magic": patched((MAGIC, "4s", (b"abcd",)), (0, "i", (999,))),
    "nifti header alone": lambda f: (p := f / "x.nii", p.write_bytes(plain_nifti()[:348]))[0],
    "gzip cut": damaged_gzip(lambda b: b[: len(b) // 2]),
    "gzip wrong checksum": damaged_gzip(lambda b: b[:-8] + b"\1\2\3\4" + b[-4:]),
    "gzip flipped bytes": damaged_gzip(lambda b: b[:2000] + bytes(64) + b[2064:]),
    "gzip of nothing": lambda f: (p := f / "x.nii.gz", p.write_bytes(gzip.compress(b"")))[0],
    "gzip bomb, claims more than a head": gzip_bomb((2000, 2000, 2000), 8),
    "gzip bomb, claims less than it unpacks to": gzip_bomb((160, 190, 22), 512),
    "gzip bomb, claims all it may": gzip_bomb((600, 640, 380), 300),
    "gzip bomb in nrrd": gzip_bomb((160, 190, 22), 512, ".nrrd"),
    "nrrd size zero": text("x.nrrd", nrrd(sizes="0 190 22"), RAW),
    "nrrd negative size": text("x.nrrd", nrrd(sizes="-160 190 22"), RAW),
    "nrrd giant size": text("x.nrrd", nrrd(sizes="99999999999 99999999999 20"), RAW),
    "nrrd sheared axes": text("x.nrrd", nrrd(space_directions="(1,0,0) (0.5,1,0) (0,0,6)"), RAW),
    "nrrd singular axes": text("x.nrrd", nrrd(space_directions="(1,0,0) (1,0,0) (0,0,6)"), RAW),
    "nrrd axes not numbers": text("x.nrrd", nrrd(space_directions="(nan,nan,nan) (0,1,0) (0,0,6)"), RAW),
    "nrrd zero spacing": text("x.nrrd", nrrd(space_directions="(0,0,0) (0,1,0) (0,0,6)"), RAW),
    "nrrd origin not a number": text("x.nrrd", nrrd(space_origin="(nan,inf,0)"), RAW),
    "nrrd cut": text("x.nrrd", nrrd(), RAW[:1000]),
    "nrrd gzip too short": text("x.nrrd", nrrd(encoding="gzip"), gzip.compress(RAW[:-2], 1)),
    "nrrd gzip without its end": text("x.nrrd", nrrd(encoding="gzip"), gzip.compress(RAW, 1)[:-9]),
    "nrrd gzip wrong checksum": text("x.nrrd", nrrd(encoding="gzip"), gzip.compress(RAW, 1)[:-8] + bytes(8)),
    "nrrd flipped bytes": damaged_voxels(".nrrd"),
    "nrrd detached and flipped": damaged_voxels(".nhdr", "x.raw.gz"),
    "meta flipped bytes": damaged_voxels(".mha"),
    "meta detached and flipped": damaged_voxels(".mhd", "x.zraw"),
    "nrrd unknown encoding": text("x.nrrd", nrrd(encoding="none-such"), RAW),
    "nrrd unknown type": text("x.nrrd", nrrd(type="block"), RAW),
    "nrrd sixteen dimensions": text("x.nrrd", nrrd(dimension="16", sizes="2 " * 16), RAW),
    "nrrd colour": text("x.nrrd", nrrd(kinds="RGB-color domain domain", sizes="3 10032 22"), RAW),
    "nrrd without voxels": text("x.nhdr", nrrd(data_file="gone.raw")),
    "nrrd voxels from an endless device": text("x.nhdr", nrrd(data_file="/dev/zero", sizes="9000 9000 9000")),
    "nrrd header without an end": text("x.nrrd", "NRRD0004\n" + "# remark\n" * 100_000),
    "nrrd one endless line": text("x.nrrd", "NRRD0004\ncontent: " + "x" * 3_000_000),
    "meta zero spacing": text("x.mha", mha(ElementSpacing="0 1 6"), RAW),
    "meta negative spacing": text("x.mha", mha(ElementSpacing="-1 1 6"), RAW),
    "meta singular axes": text("x.mha", mha(TransformMatrix="1 0 0 1 0 0 0 0 1"), RAW),
    "meta sheared axes": text("x.mha", mha(TransformMatrix="1 0.5 0 0 1 0 0 0 1"), RAW),
    "meta negative size": text("x.mha", mha(DimSize="-160 190 22"), RAW),
    "meta size zero": text("x.mha", mha(DimSize="0 0 0"), RAW),
    "meta giant size": text("x.mha", mha(DimSize="2000000 2000000 2000000"), RAW),
    "meta cut": text("x.mha", mha(), RAW[:1000]),
    "meta colour": text("x.mha", mha(ElementNumberOfChannels="3", DimSize="53 190 22"), RAW),
    "meta unknown type": text("x.mha", mha(ElementType="MET_NONSENSE"), RAW),
    "meta many dimensions": text("x.mha", mha(NDims="1000"), RAW),
    "meta without voxels": text("x.mhd", mha(ElementDataFile="gone.raw")),
    "meta no image at all": text("x.mha", "hello\n"),
    "voxels not numbers": voxels(lambda a: np.where(a > 300, np.nan, a)),
    "voxels infinite": voxels(lambda a: np.where(a > 340, np.inf, a)),
    "voxels beyond float": voxels(lambda a: a * 1e300),
    "voxels constant": voxels(np.zeros_like),
    "voxels constant and negative": voxels(lambda a: np.full_like(a, -7)),
    "voxels of two values": voxels(lambda a: a > 100, sitk.sitkUInt8),
    "one slice": sized((160, 190, 1), (1.0, 1.0, 6.0)),
    "two slices": sized((160, 190, 2), (1.0, 1.0, 6.0)),
    "one voxel": sized((1, 1, 1), (1.0, 1.0, 6.0)),
    "a line of voxels": sized((400, 1, 1), (1.0, 1.0, 1.0)),
    "head of a mouse": sized((160, 190, 22), (0.2, 0.2, 0.5)),
    "head of a giant": sized((160, 190, 22), (40.0, 40.0, 70.0)),
    "a named pipe": pipe,
    "a link to itself": link_loop,
    "a folder without images": lambda f: f,
    "a name of 4000 letters": lambda f: f / ("x" * 4000 + ".nii"),
    "a path of 100 folders": lambda f: f / "/".join(["folder" * 20] * 100) / "x.nii",
}

#: Odd, but with one clear meaning: read like the plain file.
ACCEPTED: dict[str, Builder] = {
    "slope not a number": patched((SLOPE, "2f", (nan, nan))),
    "infinite slope": patched((SLOPE, "2f", (inf, 0))),
    "slope zero": patched((SLOPE, "2f", (0, 0))),
    "bit size that lies": patched((BITPIX, "h", (1,))),
    "voxel place zero": patched((VOX_OFFSET, "f", (352.9,))),
    "trailing bytes": lambda f: (p := f / "x.nii", p.write_bytes(plain_nifti() + b"more" * 1000))[0],
    "two gzip members": lambda f: (
        p := f / "x.nii.gz",
        p.write_bytes(gzip.compress(bytes(plain_nifti()[:5000]), 1) + gzip.compress(bytes(plain_nifti()[5000:]), 1)),
    )[0],
    "a long name in other letters": lambda f: (
        p := f / ("Müller Ærø 脳 🧠 " * 6 + ".nii"), p.write_bytes(plain_nifti())
    )[0],
}  # fmt: skip
