"""Write files whole or not at all, and clear away what a killed run left behind."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from cnsifusion.errors import BadInput
from cnsifusion.imaging.folders import check_letters
from cnsifusion.imaging.volume import Volume

_DOUBLE_SUFFIXES = (".nii.gz", ".seg.nrrd")
_TEMPORARY = re.compile(r"\.cnsifusion-(?P<host>[0-9a-f]{8})-(?P<pid>\d{1,10})-")
#: Where the maker's process cannot be asked after (another machine, Windows), a temporary file this old is nobody's.
_ABANDONED_SECONDS = 7 * 24 * 3600.0
_swept: set[Path] = set()
_UMASK = os.umask(0o077)  # what the user wants of new files; it can only be read by setting it
os.umask(_UMASK)


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """A temporary path beside ``target`` to write to; it becomes ``target`` at the end, or vanishes on an error.

    The temporary name keeps the target's file type, since writers choose their format by it, and no other word of the
    target. Raises BadInput when the folder cannot be written.
    """
    target = Path(target)
    check_letters(target)
    name = target.name.lower()
    suffix = next((s for s in _DOUBLE_SUFFIXES if name.endswith(s)), target.suffix)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_prefix(target.parent), suffix=suffix, dir=target.parent)
    except OSError as error:
        raise BadInput(f"The output folder cannot be written ({error.strerror}); choose another.") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(target)
    except OSError as error:
        raise BadInput(f"The output could not be written ({error.strerror}); free space or choose a folder.") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_output(folder: str | Path) -> None:
    """Refuse before any work what must fail after it: a file in the folder's place, no right to write there, or a path
    that is not UTF-8.

    Creates nothing. Raises BadInput.
    """
    check_letters(folder)
    folder = Path(folder).absolute()
    there = next(p for p in (folder, *folder.parents) if os.access(p, os.F_OK))
    if not there.is_dir():
        raise BadInput("The output folder cannot be written (a file has its name); choose another.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise BadInput("The output folder cannot be written (no permission); choose another.")


def temporary_folder(parent: str | Path | None = None) -> Path:
    """A new folder below ``parent`` (made if need be; None: the system's folder for temporary files), this user's only.

    Should this process be killed, the next one that writes in ``parent`` removes it. Raises BadInput when ``parent``
    cannot be written.
    """
    try:
        parent = Path(tempfile.gettempdir() if parent is None else parent)
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=_prefix(parent), dir=parent))
    except OSError as error:
        raise BadInput(f"The output folder cannot be written ({error.strerror}); choose another.") from error


def _prefix(folder: Path) -> str:
    """Start of this process' temporary names. The first time in a folder, what dead processes left there goes."""
    if folder not in _swept:
        _swept.add(folder)
        for path in folder.glob(".cnsifusion-*"):
            if _is_abandoned(path):
                _remove(path)
    return f".cnsifusion-{_host()}-{os.getpid()}-"


def _is_abandoned(path: Path) -> bool:
    """Whether the process that made a temporary file is gone: by its number on this machine, else by the file's age."""
    made_by = _TEMPORARY.match(path.name)
    if made_by is None:
        return False
    if made_by["host"] == _host() and os.name != "nt":
        return not _is_alive(int(made_by["pid"]))
    try:
        return time.time() - path.lstat().st_mtime > _ABANDONED_SECONDS
    except OSError:
        return False  # its owner just removed it


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@lru_cache(maxsize=1)
def _host() -> str:
    """Names the process table that numbers come from: the machine and, on Linux, the container."""
    table = ""
    with suppress(OSError):
        table = str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(f"{socket.gethostname()} {table}".encode()).hexdigest()[:8]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # another process was quicker, or it is another user's: it disturbs nobody
            path.unlink()


def write_text(text: str, target: str | Path) -> None:
    """Write ``text`` as UTF-8 to ``target``, atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, "utf-8")


def write_table(rows: Sequence[Mapping[str, Any]], target: str | Path) -> None:
    """Write ``rows`` (at least one) as CSV under the first one's names, atomically."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(text.getvalue(), target)


def write_volume(volume: Volume, target: str | Path) -> None:
    """Write ``volume`` to ``target`` (.nii.gz, .nrrd or .mha, by its name), atomically.

    Raises BadInput when it cannot be written.
    """
    with atomic_path(target) as temporary:
        try:
            sitk.WriteImage(volume.to_sitk(), str(temporary), useCompression=True)
        except RuntimeError as error:
            raise BadInput("The volume could not be written; is the disk full?") from error
