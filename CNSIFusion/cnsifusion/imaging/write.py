"""Write files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import SimpleITK as sitk  # noqa: N813

from cnsifusion.errors import BadInput
from cnsifusion.imaging.volume import Volume


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """A temporary path beside ``target`` to write to; it becomes ``target`` at the end, or vanishes on an error.

    The temporary name keeps the target's suffixes, since writers choose their format by them. Raises BadInput when the
    folder cannot be written.
    """
    target = Path(target)
    suffix = "".join(target.suffixes[-2:])
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".cnsifusion-", suffix=suffix, dir=target.parent)
    except OSError as error:
        raise BadInput(f"The output folder cannot be written ({error.strerror}); choose another.") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as error:
        raise BadInput(f"The output could not be written ({error.strerror}); free space or choose a folder.") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(text: str, target: str | Path) -> None:
    """Write ``text`` as UTF-8 to ``target``, atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, "utf-8")


def write_volume(volume: Volume, target: str | Path) -> None:
    """Write ``volume`` to ``target`` (.nii.gz, .nrrd or .mha, by its name), atomically.

    Raises BadInput when it cannot be written.
    """
    with atomic_path(target) as temporary:
        try:
            sitk.WriteImage(volume.to_sitk(), str(temporary), useCompression=True)
        except RuntimeError as error:
            raise BadInput("The volume could not be written; is the disk full?") from error
