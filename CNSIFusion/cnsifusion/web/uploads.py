"""Files that the browser sends: bounded in size, written below a folder of the session, whatever they are called."""

from __future__ import annotations

from pathlib import Path

from wslink import protocol

from cnsifusion.errors import BadInput

#: The largest upload in bytes: a thin-slice series of a head has less than half of it.
MAX_BYTES = 1 << 30
TOO_LARGE = "What was chosen is larger than 1 GB, so it is no series of a head; give its path instead of sending it."
_OVERHEAD = 1 << 20


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

    Raises BadInput where nothing was chosen, it is too large, a name is unusable or the disk is full.
    """
    if files is None:
        raise BadInput(TOO_LARGE)
    contents = [_content(file) for file in files]
    if not contents:
        raise BadInput("No file was chosen.")
    if sum(map(len, contents)) > MAX_BYTES:
        raise BadInput(TOO_LARGE)
    paths = []
    for number, (file, content) in enumerate(zip(files, contents)):
        name = Path(str(file.get("name", "")).replace("\\", "/")).name
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


def _content(file: dict) -> bytes:
    content = file.get("content") if isinstance(file, dict) else None
    joined = b"".join(content) if isinstance(content, list) else content
    if not isinstance(joined, bytes):
        raise BadInput("A file that was sent arrived without content; choose it again.")
    return joined
