"""A browser server that is killed leaves no process, and its temporary files go with the next start."""

import sys
import time

import pytest

pytest.importorskip("trame_slicer", reason="needs the extra 'web'")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="POSIX signals and /proc")


def test_a_killed_server_leaves_nothing_for_long(simulated_image, tmp_path):
    import signal

    import faults

    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> "{opened}"\n')
    browser.chmod(0o755)
    tmp_path = tmp_path / "temporary"
    tmp_path.mkdir()
    words = {"TMPDIR": str(tmp_path), "BROWSER": str(browser)}
    killed = faults.Run("app", "--no-browser", simulated_image, environment=words)
    assert killed.process.stdout.readline().startswith("http://127.0.0.1:")
    assert len(list(tmp_path.iterdir())) == 1 and len(killed.family()) == 2, "one folder; the server and its worker"
    assert not list(tmp_path.rglob("key")), "the key lies in a file no longer than the start needs it"
    killed.kill()
    assert killed.orphans() == []
    assert not opened.exists()
    after = faults.Run("app", environment=words)
    address = after.process.stdout.readline()
    assert len(list(tmp_path.iterdir())) == 1
    for _ in range(300):  # it opens after the address is printed
        if opened.exists() and opened.read_text():
            break
        time.sleep(0.1)
    after.process.send_signal(signal.SIGINT)
    after.process.wait(60)
    assert list(tmp_path.iterdir()) == []
    start, key = address.split("?key=")
    assert opened.read_text().startswith(f"{start}?key=") and opened.read_text().count("?key=") == 1, "opened, once"
    assert key not in opened.read_text(), "all users see with what a browser is started"
