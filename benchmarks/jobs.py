"""What a contender is asked to do."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BUCKET = "bench"
ACCESS_KEY = "benchmark"
SECRET_KEY = "benchmark-secret"
REGION = "eu-central-1"


@dataclass(frozen=True)
class JobFile:
    """One file to restore.

    Attributes:
        path: relative path below the destination; the key in the bucket is the same.
        stored: the value of ``file_info`` for it, as the database has it.

    """

    path: str
    stored: list[Any]

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.stored[0])


@dataclass(frozen=True)
class Job:
    """Files to restore from one endpoint.

    Attributes:
        files: the files.
        destination: folder that they go to.
        endpoint_url: the S3 source.
        ca_bundle: certificate that the source is to be trusted by; empty for plain HTTP.
        folder: common first component of all paths when there are many files, else empty.

    """

    files: list[JobFile]
    destination: str
    endpoint_url: str = ""
    ca_bundle: str = ""
    folder: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def target(self) -> Path:
        """Where the one file, or the folder of the many, will be."""
        return Path(self.destination) / (self.folder or self.files[0].path)

    def key(self) -> str:
        """Key of the one object, or the common prefix of the many without a slash at its end."""
        return self.folder or self.files[0].path

    def to_json(self) -> str:
        """Write for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read what ``to_json`` wrote."""
        fields = json.loads(text)
        fields["files"] = [JobFile(**each) for each in fields["files"]]
        return cls(**fields)
