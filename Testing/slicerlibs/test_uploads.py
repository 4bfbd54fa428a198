"""What the browser sends: bounded, under its last name alone, below the session's folder."""

from __future__ import annotations

import io
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

pytest.importorskip("trame_slicer", reason="needs the extra 'web'")

from wslink import protocol

from cnsifusion.errors import BadInput
from cnsifusion.web import uploads
from cnsifusion.web.app import _typed


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("T2.nii.gz", "T2.nii.gz"),
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\windows\\system.ini", "system.ini"),
        ("C:\\T2.nrrd", "T2.nrrd"),
    ],
)
def test_files_stay_below_the_folder(tmp_path, name, kept):
    folder = tmp_path / "session"
    folder.mkdir()
    assert uploads.writeUpload([{"name": name, "content": [b"ab", b"c"]}], folder) == [folder / kept]
    assert (folder / kept).read_bytes() == b"abc"
    assert [p.name for p in tmp_path.iterdir()] == ["session"]


def test_series_with_the_same_names_keep_all_files(tmp_path):
    files = [{"name": f"{n}/IM1", "content": bytes([n])} for n in range(3)]
    paths = uploads.writeUpload(files, tmp_path)
    assert len(set(paths)) == 3 and {p.read_bytes() for p in paths} == {b"\0", b"\1", b"\2"}


@pytest.mark.parametrize(
    "files",
    [None, [], [{}], ["text"], [{"name": "a"}], [{"name": "..", "content": b"x"}], [{"name": "", "content": b"x"}],
     [{"name": "a\0b", "content": b"x"}], [{"name": "x" * 300, "content": b"x"}], [{"name": "a", "content": "text"}]],
)  # fmt: skip
def test_uploads_without_sense_are_one_sentence(tmp_path, files):
    with pytest.raises(BadInput) as caught:
        uploads.writeUpload(files, tmp_path)
    assert str(caught.value).endswith(".") and list(tmp_path.iterdir()) == []


def test_uploads_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_BYTES", 1000)
    with pytest.raises(BadInput, match="larger than"):
        uploads.writeUpload([{"name": "a", "content": bytes(600)}, {"name": "b", "content": bytes(600)}], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_zip_archive_is_the_files_in_it(tmp_path):
    """As a PACS exports a series; names that lead elsewhere stay below the folder."""
    packed = zipped({"DICOM/A/IM1": b"one", "DICOM/B/IM1": b"two", "../../IM2": b"three", "DICOM/": b""})
    paths = uploads.writeUpload([{"name": "Study.ZIP", "content": packed}], tmp_path)
    assert sorted(path.read_bytes() for path in paths) == [b"one", b"three", b"two"]
    assert all(path.parent == tmp_path for path in paths)
    two = [{"name": "a.zip", "content": packed}, {"name": "b.zip", "content": packed}]
    assert [path.name for path in uploads.writeUpload(two, tmp_path)] == ["a.zip", "b.zip"], "one archive alone"


def test_zip_archives_without_sense_are_one_sentence(tmp_path, monkeypatch):
    good = zipped({"a": b"x" * 5000})
    flag = good.index(b"PK\1\2") + 8
    for bad in (b"no zip", zipped({}), good[:60], good[:40] + b"?" + good[41:], good[:flag] + b"\1" + good[flag + 1 :]):
        with pytest.raises(BadInput, match="zip archive"):
            uploads.writeUpload([{"name": "a.zip", "content": bad}], tmp_path)
    monkeypatch.setattr(uploads, "MAX_BYTES", 4000)
    with pytest.raises(BadInput, match="larger than"):
        uploads.writeUpload([{"name": "a.zip", "content": good}], tmp_path)
    liar = good.replace((5000).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    with pytest.raises(BadInput, match="zip archive"):
        uploads.writeUpload([{"name": "a.zip", "content": liar}], tmp_path)
    assert list(tmp_path.iterdir()) == []


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with ZipFile(stream, "w", ZIP_DEFLATED) as writer:
        for name, content in files.items():
            writer.writestr(name, content)
    return stream.getvalue()


def test_messages_of_a_known_page_are_bounded(monkeypatch):
    """wslink itself would take 4 GB of memory for a header that announces it."""
    monkeypatch.setattr(protocol, "UnChunker", protocol.UnChunker)  # put back afterwards
    uploads.boundMessages()
    pending = protocol.UnChunker()
    pending.set_max_message_size(4 << 30)
    chunk = next(iter(protocol.generate_chunks(b"x" * 100, 60)))
    header = bytearray(chunk[:12])
    header[8:12] = (uploads.MAX_BYTES + (2 << 20)).to_bytes(4, "little")
    with pytest.raises(ValueError, match="limit"):
        pending.process_chunk(bytes(header) + chunk[12:])
    assert pending.process_chunk(bytes(chunk)) is None and len(pending.pending_messages) == 1


def test_a_path_of_an_unknown_user_is_refused():
    with pytest.raises(BadInput, match="does not know"):
        _typed("~nobody-of-this-name/T2.nii.gz", "an image")


def test_a_path_may_come_with_the_quotes_of_a_file_manager():
    assert _typed(' "/data/T2 axial.nii.gz" ', "an image") == Path("/data/T2 axial.nii.gz")
    for nothing in (None, "", '  ""'):
        with pytest.raises(BadInput, match="Type the path of an image"):
            _typed(nothing, "an image")
