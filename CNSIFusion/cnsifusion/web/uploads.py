"""Files that the browser sends: bounded in size, written below a folder of the session, whatever they are called."""

from __future__ import annotations

import io
import lzma
import zlib
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from wslink import protocol

from cnsifusion.errors import BadInput

#: The largest upload in bytes: a thin-slice series of a head has less than half of it.
MAX_BYTES = 1 << 30
TOO_LARGE = "What was chosen is larger than 1 GB, so it is no series of a head; give its path instead of sending it."
_OVERHEAD = 1 << 20
#: What unpacking raises for archives that are damaged, protected or packed in a way Python does not know.
_DAMAGED = (BadZipFile, RuntimeError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


class _BoundedUnChunker(protocol.UnChunker):
    """wslink lets a page that knows the key announce messages of 4 GB and takes the memory at once."""

    def set_max_message_size(self, size: int) -> None:
        super().set_max_message_size(min(size, MAX_BYTES + _OVERHEAD))


def boundMessages() -> None:
    """Bound what any page may send in one message; a larger one ends that page's connection."""
    protocol.UnChunker = _BoundedUnChunker


def uploadArguments() -> str:
    """What a file input's ``change`` sends: its files, or null instead of more than can be taken."""
    return f"[[...$event.target.files].reduce((sum, f) => sum + f.size, 0) > {MAX_BYTES} ? null : $event.target.files]"


def writeUpload(files: list[dict] | None, folder: Path) -> list[Path]:
    """Write the files of one upload ({"name", "content"}) into ``folder``, under their last names alone.

    Of a zip archive alone, the files in it. Raises BadInput where nothing was chosen, it is too large, a name is
    unusable, the archive cannot be unpacked or the disk is full.
    """
    if files is None:
        raise BadInput(TOO_LARGE)
    sent = [(_content(file), str(file.get("name", ""))) for file in files]
    if not sent:
        raise BadInput("No file was chosen.")
    if sum(len(content) for content, _ in sent) > MAX_BYTES:
        raise BadInput(TOO_LARGE)
    if len(sent) == 1 and sent[0][1].lower().endswith(".zip"):
        sent = _unpacked(sent[0][0])
    paths = []
    for number, (content, called) in enumerate(sent):
        name = Path(called.replace("\\", "/")).name
        if name in ("", ".", "..") or "\0" in name:
            raise BadInput("A file that was sent has no usable name; rename it.")
        path = folder / name
        if path in paths:  # DICOM series in several folders may repeat names
            path = folder / f"{number}-{name}"
        try:
            path.write_bytes(content)
        except OSError as error:
            raise BadInput(f"A file that was sent could not be kept ({error.strerror}).") from error
        paths.append(path)
    return paths


def _unpacked(archive: bytes) -> list[tuple[bytes, str]]:
    """Contents and names of the files in a zip archive, as a PACS exports a series."""
    try:
        with ZipFile(io.BytesIO(archive)) as reader:
            files = [info for info in reader.infolist() if not info.is_dir()]
            if sum(info.file_size for info in files) > MAX_BYTES:
                raise BadInput(TOO_LARGE)
            unpacked = [(_read(reader, info), info.filename) for info in files]
    except _DAMAGED as error:
        raise BadInput("The zip archive cannot be unpacked: it is damaged or has a password.") from error
    if not unpacked:
        raise BadInput("The zip archive is empty.")
    return unpacked


def _read(archive: ZipFile, info: ZipInfo) -> bytes:
    """The content of one file; asked for the size that it claims, none unpacks to more."""
    with archive.open(info) as stream:
        return stream.read(info.file_size)


def _content(file: dict) -> bytes:
    content = file.get("content") if isinstance(file, dict) else None
    joined = b"".join(content) if isinstance(content, list) else content
    if not isinstance(joined, bytes):
        raise BadInput("A file that was sent arrived without content; choose it again.")
    return joined
