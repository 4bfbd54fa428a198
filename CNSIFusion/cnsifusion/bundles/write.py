"""Writing a bundle folder: all or nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

from cnsifusion.bundles.load import load_bundle
from cnsifusion.bundles.settings import BundleSettings, FileEntry
from cnsifusion.errors import BadInput
from cnsifusion.imaging import check_output, temporary_folder

_NAMES = {"bundle.json", "model.onnx", "head.onnx"}


def check_bundle_folder(directory: str | Path) -> None:
    """Refuse before any work a ``directory`` whose place a bundle must not take: what lies in it would be lost.

    A new, an empty or a bundle's own folder will do. Raises BadInput.
    """
    target = Path(directory)
    check_output(target)
    if target.is_dir() and {path.name for path in target.iterdir()} - _NAMES:
        raise BadInput("The output folder holds other files than a model bundle's; give a new folder.")


def write_bundle(directory: str | Path, settings: BundleSettings, contents: dict[str, bytes]) -> Path:
    """Write ``bundle.json`` and the graphs in ``contents`` (file name -> bytes) as a folder in place of ``directory``.

    Sizes and hashes are filled in here. The new folder is verified in full before it takes the old one's place; raises
    BundleError where it would not load, BadInput where it cannot be written or would take another folder's place.
    """
    target = Path(directory).resolve()
    entries = {n: FileEntry(hashlib.sha256(c).hexdigest(), len(c)) for n, c in contents.items()}
    complete = replace(settings, files=entries)
    _recover(target)
    check_bundle_folder(target)
    work = temporary_folder(target.parent)
    try:
        for name, content in contents.items():
            (work / name).write_bytes(content)
        text = json.dumps(asdict(complete), indent=1, sort_keys=True, allow_nan=False)
        (work / "bundle.json").write_text(text + "\n", encoding="utf-8")
        load_bundle(work)
        work.chmod(0o755)
        if target.exists():
            target.rename(_replaced(target))
        work.rename(target)
        shutil.rmtree(_replaced(target), ignore_errors=True)
    except OSError as error:
        raise BadInput(f"The bundle could not be written ({error.strerror}); free space or choose a folder.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _replaced(target: Path) -> Path:
    """Where the old folder waits while the new one takes its place (no temporary name: a kill must not lose it)."""
    return target.with_name(f".{target.name}.replaced")


def _recover(target: Path) -> None:
    """Undo or finish a replacement that a kill interrupted."""
    old = _replaced(target)
    if old.exists() and target.exists():
        shutil.rmtree(old)
    elif old.exists():
        old.rename(target)
