"""A browser server that is killed leaves no process, and its temporary files go with the next start."""

import sys

import pytest

pytest.importorskip("trame_slicer", reason="needs the extra 'web'")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="POSIX signals and /proc")


def test_a_killed_server_leaves_nothing_for_long(simulated_image, tmp_path):
    import signal

    import faults

    killed = faults.Run("app", "--no-browser", simulated_image, environment={"TMPDIR": str(tmp_path)})
    assert killed.process.stdout.readline().startswith("http://127.0.0.1:")
    assert len(list(tmp_path.iterdir())) == 1 and len(killed.family()) == 2, "one folder; the server and its worker"
    killed.kill()
    assert killed.orphans() == []
    after = faults.Run("app", "--no-browser", environment={"TMPDIR": str(tmp_path)})
    after.process.stdout.readline()
    assert len(list(tmp_path.iterdir())) == 1
    after.process.send_signal(signal.SIGINT)
    after.process.wait(60)
    assert list(tmp_path.iterdir()) == []
