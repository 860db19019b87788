"""Children end when they are told to, and when their starter dies without a word."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tenacity import Retrying, stop_after_delay, wait_fixed

from devstack.choice import Choice
from devstack.demonstration.remains import PROCESSES, STATE, is_running, take_down
from devstack.postgres import Postgres
from devstack.processes import Children
from devstack.run import Run, sweep_folders

ROOT = Path(__file__).parents[2]
END_TIMEOUT_S = 20
WAITER = [sys.executable, "-c", "import signal; print('ready', flush=True); signal.pause()"]
STARTER = """
import sys
from devstack.run import Run
run = Run(say=lambda text: None)
child = run.children.start("waiter", sys.argv[1:])
print(child.pid, run.folder, flush=True)
child.wait(60)
"""


def test_log_holds_both_streams_and_exit_code_is_told(tmp_path: Path) -> None:
    script = "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(7)"
    with Children(tmp_path) as children:
        child = children.start("speaker", [sys.executable, "-c", script])
        assert child.wait() == 7
        assert child.read_log().split() == ["out", "err"]
        assert not children.list_alive()


def test_frozen_child_can_be_thawed_and_killed(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("waiter", WAITER)
        child.freeze()
        assert child.is_alive()
        child.thaw()
        child.freeze()
        assert child.kill() == -signal.SIGKILL


def test_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    script = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    with Children(tmp_path) as children:
        child = children.start("deaf", [sys.executable, "-c", script])
        for attempt in Retrying(stop=stop_after_delay(END_TIMEOUT_S), wait=wait_fixed(0.01)):
            with attempt:
                assert "deaf" in child.read_log()
        assert child.stop(timeout_s=0.2) == -signal.SIGKILL


def test_leaving_the_context_stops_all(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        started = [children.start(f"waiter-{number}", WAITER) for number in range(3)]
    assert [child.is_alive() for child in started] == [False] * 3


def test_child_dies_with_its_killed_starter_and_the_next_run_sweeps_the_folder() -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER, *WAITER], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert starter.stdout is not None
    with starter.stdout:
        pid, folder = starter.stdout.readline().split()
    child = psutil.Process(int(pid))
    sweep_folders()
    assert Path(folder).is_dir()

    starter.kill()
    starter.wait()
    child.wait(END_TIMEOUT_S)
    with Run(say=lambda text: None):
        assert not Path(folder).exists()


def test_stack_leaves_no_process_when_it_is_killed() -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("KAFKA_BOOTSTRAP", "DATABASE_URL")}
    command = [sys.executable, "-m", "devstack.stack"]
    stack = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment | {"DEVSTACK": "embedded"}
    )
    assert stack.stdout is not None
    with stack.stdout:
        told = [stack.stdout.readline() for _ in range(5)]
    parts = psutil.Process(stack.pid).children(recursive=True)
    assert "export KAFKA_BOOTSTRAP=" in told[2]
    assert "export DATABASE_URL=" in told[3]
    assert len(parts) > 2

    stack.kill()
    stack.wait()
    assert psutil.wait_procs(parts, timeout=END_TIMEOUT_S)[1] == []


def test_process_that_only_reuses_a_recorded_pid_is_left_alone(tmp_path: Path) -> None:
    with Children(tmp_path / "logs") as children:
        children.start("other", WAITER)
        children.write_record(tmp_path / PROCESSES)
        assert is_running(tmp_path)
        rows = json.loads((tmp_path / PROCESSES).read_text())
        rows[0]["started_at_s"] -= 1
        (tmp_path / PROCESSES).write_text(json.dumps(rows))
        assert not is_running(tmp_path)


def test_kept_stack_goes_on_until_it_is_taken_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVSTACK", "embedded")
    script = (
        "import sys; from pathlib import Path; from devstack.stack import start_stack\n"
        "from devstack.demonstration.remains import write_state\n"
        "with start_stack(keep=True) as stack: write_state(Path(sys.argv[1]), stack)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=ROOT)
    kept = json.loads((tmp_path / STATE).read_text())
    Postgres(Choice.EMBEDDED, kept["postgres"]["address"], kept["prefix"]).wait_until_ready()

    assert sorted(re.findall(r"[a-z]+-?\d*", take_down(tmp_path).removeprefix("Ended: "))) == ["kafka-1", "postgres"]
    assert not Path(kept["folder"]).exists()
    assert not is_running(tmp_path)


def test_missing_command_is_told_in_the_log(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("nothing", [tmp_path / "no-such-command"])
        assert child.wait() != 0
        assert "FileNotFoundError" in child.read_log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stack_ends_by_itself_when_asked(number: signal.Signals) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("KAFKA_BOOTSTRAP", "DATABASE_URL")}
    command = [sys.executable, "-m", "devstack.stack"]
    stack = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment | {"DEVSTACK": "embedded"}
    )
    assert stack.stdout is not None
    with stack.stdout:
        while "Ctrl-C" not in stack.stdout.readline():
            assert stack.poll() is None
        parts = psutil.Process(stack.pid).children(recursive=True)
        stack.send_signal(number)
        assert stack.wait(END_TIMEOUT_S) == 0
    assert not [part for part in parts if part.is_running()]
