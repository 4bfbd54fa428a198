"""Writing a bundle folder: all or nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

from cnsifusion.bundles.decode import encode
from cnsifusion.bundles.load import load_bundle
from cnsifusion.bundles.settings import BundleSettings, FileEntry
from cnsifusion.imaging import temporary_folder


def write_bundle(directory: str | Path, settings: BundleSettings, contents: dict[str, bytes]) -> Path:
    """Write ``bundle.json`` and the graphs in ``contents`` (file name -> bytes) as a folder in place of ``directory``.

    Sizes and hashes are filled in here. The new folder is verified in full before it takes the old one's place; raises
    BundleError where it would not load.
    """
    target = Path(directory)
    entries = {n: FileEntry(hashlib.sha256(c).hexdigest(), len(c)) for n, c in contents.items()}
    complete = replace(settings, files=entries)
    work = temporary_folder(target.parent)
    try:
        for name, content in contents.items():
            (work / name).write_bytes(content)
        text = json.dumps(encode(complete), indent=1, sort_keys=True, allow_nan=False)
        (work / "bundle.json").write_text(text + "\n", encoding="utf-8")
        load_bundle(work)
        work.chmod(0o755)
        old = target.with_name(f".{target.name}{work.name[-9:]}")  # no temporary name: a crash here must not lose it
        if target.exists():
            target.rename(old)
        work.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target
