"""The whole stand below one folder: S3 server, MongoDB server, Airflow, settings, sample files.

    <home>/airflow                  the `airflow` command with the settings of this run
    <home>/airflow_home/            see `airflow_stack`
    <home>/alphakraken.demo.yaml    the settings of the product
    <home>/instrument/              the sample raw files as an instrument wrote them
    <home>/output/                  where the DAG restores to
    <home>/mongo/, <home>/*.log     data and logs of the servers

Every start begins with an empty output, empty servers and new passwords; only the migrated Airflow database is kept.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from demo.airflow_stack import AirflowStack
from demo.mongo_server import DATABASE, MongoServer
from demo.processes import stop_all
from demo.s3_server import REGION, S3Server
from demo.sample_files import PROJECT_ID, SAMPLES, SampleRawFile, generate, upload_like_the_host

# Preferred, so that the addresses are the same every time; if taken, another is found.
UI_PORT = 8080
S3_PORT = 9010
MONGO_PORT = 27018


class Stand:
    """All parts, made with free ports and new passwords; nothing runs before `start_servers`.

    Args:
        home: the folder.
        airflow: which line of Airflow.
        usual_ports: take the same ports every time, where they are free; else any, so that several can start at once.

    Attributes:
        s3, mongo, airflow: the parts.
        instrument: folder of the original sample files.
        settings_file: the settings of the product, read anew by each task.
        project_output: folder that the DAG restores the samples to.
    """

    def __init__(self, home: Path, airflow: type[AirflowStack] = AirflowStack, *, usual_ports: bool = True) -> None:
        self.home = home
        self.instrument = home / "instrument"
        self.output = home / "output"
        self.project_output = self.output / PROJECT_ID
        self.settings_file = home / "alphakraken.demo.yaml"
        for folder in (self.instrument, self.output):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        for log in home.glob("*.log"):
            log.unlink()
        write_settings(self.settings_file, self.output)
        self.s3 = S3Server(home / "s3.log", S3_PORT if usual_ports else None)
        self.mongo = MongoServer(home / "mongo", preferred_port=MONGO_PORT if usual_ports else None)
        self.airflow = airflow(
            home / "airflow_home",
            self.s3.airflow_connection(),
            product_environment(self.settings_file, self.mongo),
            preferred_port=UI_PORT if usual_ports else None,
            command=home / "airflow",
        )

    def start_servers(self) -> None:
        """Start the S3 and the MongoDB server and wait for both.

        Raises:
            StartError: one did not get ready.
        """
        self.s3.start()
        self.mongo.start()
        self.s3.wait()

    def upload_samples(self, uploaded: Callable[[SampleRawFile], None]) -> None:
        """Make the sample files and upload them; calls `uploaded` after each."""
        client = self.s3.client()
        with self.mongo.client(self.mongo.writer) as mongo:
            for sample in SAMPLES:
                generate(sample, self.instrument)
                upload_like_the_host(sample, self.instrument, client, mongo[DATABASE]["raw_file"])
                uploaded(sample)
        client.close()

    def store(self, document: Mapping[str, Any]) -> None:
        """Store a further document, as the user that the uploader has."""
        with self.mongo.client(self.mongo.writer) as mongo:
            mongo[DATABASE]["raw_file"].replace_one({"_id": document["_id"]}, document, upsert=True)

    def document(self, raw_file_id: str) -> dict[str, Any] | None:
        """Return a document as stored, read as the user that the DAG has."""
        with self.mongo.client(self.mongo.reader) as mongo:
            return mongo[DATABASE]["raw_file"].find_one({"_id": raw_file_id})

    def check(self) -> None:
        """Raise StartError if a part has ended by itself."""
        for process in (self.s3.process, self.mongo.process, *self.airflow.processes):
            process.check()

    def stop(self) -> None:
        """End all processes, whether started or not."""
        stop_all([*self.airflow.processes, self.mongo.process, self.s3.process])
        self.airflow.stop()

    def __enter__(self) -> Self:
        """Start everything, with the samples uploaded."""
        try:
            self.start_servers()
            self.airflow.start()
            self.upload_samples(lambda _sample: None)
            self.airflow.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def write_settings(file: Path, output: Path) -> None:
    """Write the settings YAML of the product for this output location."""
    settings = {
        "general": {"notifications": {"ops_alerts_webhook_url": ""}},
        "locations": {"output": {"absolute_path": str(output)}},
        "backup": {"backup_type": "s3", "s3": {"region": REGION, "bucket_prefix": "alphakraken"}},
    }
    file.write_text(yaml.safe_dump(settings, sort_keys=False))


def product_environment(settings_file: Path, mongo: MongoServer) -> dict[str, str]:
    """Return the variables that the product reads."""
    return {"ALPHAKRAKEN_YAML": str(settings_file), **mongo.environment()}
