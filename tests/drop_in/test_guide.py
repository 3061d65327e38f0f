"""What DROP_IN.md gives to copy, put into a compose file and a requirements file made like the host's."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

from airflow_src.install.packages import read_floors
from airflow_src.install.sources import SOURCE

HOST = Path(__file__).parent / "host"
GUIDE = (SOURCE.parent / "design_docs/DROP_IN.md").read_text()
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)", (HOST.parent / "requirements.txt").read_text(), re.MULTILINE))


def block(language: str, beginning: str) -> str:
    return re.search(rf"^```{language}\n({beginning}.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)[1]


def test_the_worker_of_the_guide_is_one_of_the_host():
    """K1: with its reader's login, profile, health check, restart, warm shutdown, logs and a writable output."""
    snippet = block("text", "services:").removeprefix("services:\n")
    services = yaml.safe_load((HOST / "docker-compose.yaml").read_text() + "\n" + snippet)["services"]
    uploader, ours = services["airflow-worker-s3-uploader"], services["airflow-worker-s3-downloader"]
    assert ours.keys() == uploader.keys()
    for same in ("profiles", "healthcheck", "restart", "logging", "user"):
        assert ours[same] == uploader[same], same
    assert ours["environment"] == {
        **uploader["environment"],
        "MONGO_USER": "${MONGO_USER_READ:?error}",
        "MONGO_PASSWORD": "${MONGO_PASSWORD_READ:?error}",
    }
    assert uploader["volumes"][0] in ours["volumes"], "the logs"
    assert "${MOUNTS_PATH:?error}/output:/opt/airflow/mounts/output:rw" in ours["volumes"]
    command = ours["command"].split()
    assert command[command.index("-q") + 1] == "kraken_queue_s3_download"


def test_the_requirements_of_the_guide_are_what_the_host_lacks():
    """K2: none of its own pins is contradicted, and each floor is a pin that the tests run with."""
    added = dict(re.findall(r"^([\w.-]+)==(\S+)$", block("text", "apache-airflow-providers"), re.MULTILINE))
    assert added.items() <= PINS.items()
    floors = read_floors()
    assert {name: floors[name] for name in PINS if name in floors} == {
        name: PINS[name] for name in PINS if name in floors
    }
    assert added.keys() <= floors.keys()


def test_the_paths_of_the_guide_are_those_of_the_installation(tmp_path: Path):
    dest = tmp_path / "airflow_src"
    for folder in ("dags", "plugins"):
        (dest / folder).mkdir(parents=True)
    (tmp_path / "shared/db").mkdir(parents=True)
    (tmp_path / "shared/db/interface.py").touch()
    command = [sys.executable, "-m", "airflow_src.install", "install", "", "", str(dest)]
    subprocess.run(command, cwd=SOURCE.parent, check=True, capture_output=True)
    copied, _, checked = GUIDE.partition("## 2.")
    paths = re.findall(r"^\| `((?:dags|plugins)/\S+)`", copied, re.MULTILINE)
    paths += re.findall(r"/opt/airflow/(plugins/\S+\.py)", checked)
    assert len(paths) == 6
    for path in paths:
        assert (dest / path).exists(), path
