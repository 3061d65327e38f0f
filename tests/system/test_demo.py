"""The demo: its story on a started stand, and how the program begins and ends."""

import contextlib
import fcntl
import shutil
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from demo.airflow_stack import REPOSITORY
from demo.processes import LOCALHOST, environment
from demo.sample_files import RAW
from demo.stand import MONGO_PORT, S3_PORT, UI_PORT, Stand
from demo.story import StepFailedError, Story


def start_demo(home) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=REPOSITORY,
        env=environment({"DEMO_HOME": str(home), "DEMO_EXIT": "1"}),
    )


@pytest.mark.long
@pytest.mark.timeout(300)
def test_story_is_told_and_notices_a_wrong_file(stand, capsys):
    shutil.rmtree(stand.project_output, ignore_errors=True)
    story = Story(stand)

    story.tell_of_runs()

    told = capsys.readouterr().out
    for message in (
        "Downloaded and verified",
        "Skipped (already exists)",
        "Self-healed",
        "20250115_never_measured.raw",
    ):
        assert message in told

    with (stand.project_output / RAW.raw_file_id).open("r+b") as file:
        file.write(b"wrong")
    with pytest.raises(StepFailedError, match="differs from the instrument's file"):
        story.check_files(RAW)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_interrupted_demo_leaves_no_process(tmp_path, number):
    with start_demo(tmp_path) as demo:
        said = ""
        for line in demo.stdout:
            said += line
            if "S3 and MongoDB answer" in line:
                demo.send_signal(number)

    assert demo.returncode == 130, said
    assert "All processes ended" in said
    assert [process for process in psutil.process_iter(["cmdline", "cwd"]) if str(tmp_path) in str(process.info)] == []
    assert not (tmp_path / "airflow").exists(), "the command with the secrets of the run"


def test_second_demo_in_the_same_folder_is_refused(tmp_path):
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with start_demo(tmp_path) as demo:
            said = demo.stdout.read()

    assert demo.returncode == 1
    assert "Another demo is using" in said
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]


def test_taken_ports_are_replaced(tmp_path):
    preferred = (UI_PORT, S3_PORT, MONGO_PORT)
    with contextlib.ExitStack() as stack:
        for port in preferred:
            holder = stack.enter_context(socket.socket())
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Somebody else holds it already: as good.
            with contextlib.suppress(OSError):
                holder.bind((LOCALHOST, port))
                holder.listen()

        stand = Stand(tmp_path)

    addresses = f"{stand.airflow.url} {stand.s3.endpoint_url} :{stand.mongo.port} "
    assert not any(f":{port} " in addresses for port in preferred)
