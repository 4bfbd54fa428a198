"""The child process runner with real children: every kind of end, once, and the whole tree gone."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import waitFor

from cnsifusion.mrml import child

#: A worker that does what the request's "do" says; speaks the protocol of `cnsifusion worker`.
WORKER = r"""
import json, os, signal, subprocess, sys, time
def say(**event): print(json.dumps(event), flush=True)
say(event="ready")
print("not json at all", flush=True)
for line in sys.stdin:
    request = json.loads(line); id = request["id"]; do = request["do"]
    say(id=id, event="progress", step=1, steps=2, name="First", fraction=0.0)
    if do == "answer": say(id="other", event="done"); say(id=id, event="done", result="here", pid=os.getpid())
    elif do == "refuse": say(id=id, event="error", exit_code=2, message="The image is a FLAIR.")
    elif do == "no memory": say(id=id, event="error", exit_code=4, message="Too little memory.")
    elif do == "crash": print("last words", file=sys.stderr, flush=True); os.kill(os.getpid(), signal.SIGSEGV)
    elif do == "killed": os.kill(os.getpid(), signal.SIGKILL)
    elif do == "leave": sys.exit(7)
    elif do == "sleep": time.sleep(60)
    elif do == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
        grandchild = subprocess.Popen([sys.executable, "-c", code])
        say(id=id, event="progress", step=2, steps=2, name="Second", fraction=0.5, grandchild=grandchild.pid)
        time.sleep(60)
    elif do == "flood":
        for n in range(20000): say(id=id, event="progress", step=1, steps=1, name="x" * 50, fraction=n / 20000)
        say(id=id, event="done")
"""


class Face:
    """What a face keeps of a job: its progress and its ends."""

    def __init__(self):
        self.engine = child.Engine([sys.executable, "-c", WORKER])
        self.progress, self.ends = [], []

    def submit(self, do, **more):
        self.engine.submit({"command": "analyze", "do": do}, self.progress.append, self.ends.append, **more)

    def run(self, do, seconds=20):
        self.submit(do)
        self.wait(seconds)
        return self.ends[-1]

    def wait(self, seconds=20):
        waitFor(lambda: self.ends and not self.engine.busy, self.engine.poll, seconds)


@pytest.fixture
def face():
    face = Face()
    yield face
    face.engine.close()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_done_carries_the_answer_of_this_job_alone(face):
    end = face.run("answer")
    assert (end.state, end.event["result"]) == (child.DONE, "here")
    assert [event["name"] for event in face.progress] == ["First"]


def test_warm_worker_serves_the_second_job(face):
    first, second = face.run("answer").event["pid"], face.run("answer").event["pid"]
    assert first == second == face.engine.pid


@pytest.mark.parametrize(
    ("do", "state", "message"),
    [
        ("refuse", child.FAILED, "FLAIR"),
        ("no memory", child.OUT_OF_MEMORY, "memory"),
        ("killed", child.OUT_OF_MEMORY, "memory"),
        ("crash", child.CRASHED, "unexpectedly"),
        ("leave", child.CRASHED, "code 7"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="the children here raise POSIX signals")
def test_each_accident_has_its_own_end(face, do, state, message):
    end = face.run(do)
    assert end.state == state
    assert message in end.message
    assert face.run("answer").state == child.DONE, "the next job must find a worker"
    assert len(face.ends) == 2


def test_last_words_are_in_the_log(face):
    assert "last words" in face.run("crash").log


def test_cancel_is_told_from_crash_and_takes_the_tree(face):
    face.submit("stubborn")
    waitFor(lambda: any("grandchild" in e for e in face.progress), face.engine.poll)
    worker, grandchild = face.engine.pid, face.progress[-1]["grandchild"]
    assert alive(worker)
    assert alive(grandchild)
    face.engine.cancel()
    face.engine.cancel()
    face.wait()
    assert [end.state for end in face.ends] == [child.CANCELLED]
    waitFor(lambda: not alive(worker) and not alive(grandchild), face.engine.poll, 2)


def test_cancel_at_random_moments_has_one_end(face):
    rng = random.Random(1)
    for _ in range(20):
        face.ends.clear()
        face.submit("flood" if rng.random() < 0.5 else "sleep")
        time.sleep(rng.random() * 0.3)
        face.engine.poll()
        face.engine.cancel()
        face.wait()
        assert len(face.ends) == 1


def test_time_limit(face):
    face.submit("sleep", timeoutSeconds=0.5)
    face.wait()
    assert face.ends[0].state == child.TIMED_OUT


def test_every_line_arrives_before_the_one_end(face):
    seenAtEnd = []
    face.engine.submit({"do": "flood"}, face.progress.append, lambda end: seenAtEnd.append(len(face.progress)))
    waitFor(lambda: seenAtEnd, face.engine.poll, 30)
    for _ in range(5):
        face.engine.poll()
    assert seenAtEnd == [20001]


def test_one_job_at_a_time(face):
    face.submit("sleep")
    with pytest.raises(RuntimeError, match="running"):
        face.submit("answer")


def test_close_ends_everything_without_a_callback(face):
    face.submit("sleep")
    waitFor(lambda: face.progress, face.engine.poll)
    worker = face.engine.pid
    face.engine.close()
    face.engine.poll()
    assert not alive(worker)
    assert not face.ends


def test_orphaned_worker_leaves_at_end_of_input(tmp_path):
    """A face that dies leaves no worker behind."""
    script = (
        "import os, sys; from cnsifusion.mrml import child;"
        "e = child.Engine([sys.executable, '-c', 'import sys; sys.stdin.read()']);"
        "e.warm(); print(e.pid, flush=True); os._exit(0)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    waitFor(lambda: not alive(int(said.stdout)), lambda: None, 5)


def test_engine_command_runs_this_engine():
    import cnsifusion

    command = child.engineCommand("--version")
    assert child.ENGINE_FOLDER in command
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert said.stdout.strip() == cnsifusion.__version__


@pytest.mark.skipif(os.name == "nt", reason="POSIX process groups")
def test_child_leads_its_own_group():
    """A Ctrl+C or kill meant for the child never reaches the face, and the other way round."""
    process = child.Process([sys.executable, "-c", "import time; time.sleep(30)"], print, print)
    assert os.getpgid(process.pid) == process.pid != os.getpgid(0)
    process.close()
