"""Raw files of three instrument makers, made from a seed, and their upload as the uploader of the host does it.

    20250115_sample.raw                                 one file, several parts
    20250115_sample.d/                                  a folder, with sub folders and an empty file
        analysis.tdf
        analysis.tdf_bin                                several parts
        calibration.bin                                 exactly one part: S3's ETag ends in -1, file_info has the MD5
        Storage.mcf_idx                                 empty
        1234.m/microTOFQImpacTemAcquisition.method
        1234.m/diagnostics/log.txt
    20250115_sample.wiff                                a pair, below a prefix of its own in the bucket
    20250115_sample.wiff.scan

Hashes come from the local file and never from S3: what counts is what the instrument wrote.
"""

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig
from pymongo.collection import Collection

MIB = 1024**2
PART_SIZE_MIB = 8
"""The host uses 100; smaller parts let small samples have several."""

SEED = 20250115
PROJECT_ID = "PRID001"
BUCKET = "alphakraken-prid001"


@dataclass(frozen=True)
class SampleRawFile:
    """A raw file on the instrument, and where the uploader puts it.

    Attributes:
        raw_file_id: `_id` of its document.
        s3_upload_path: as stored, such as `s3://bucket/prefix/`.
        sizes: relative path of each file -> its size in bytes.
        project_id: names the folder below the output location.
    """

    raw_file_id: str
    s3_upload_path: str
    sizes: Mapping[str, int]
    project_id: str = PROJECT_ID

    @property
    def bucket(self) -> str:
        """The bucket in `s3_upload_path`."""
        return self.s3_upload_path.removeprefix("s3://").split("/")[0]

    def key(self, relative_path: str) -> str:
        """Return the object key of one of its files."""
        _, _, prefix = self.s3_upload_path.removeprefix("s3://").partition("/")
        return prefix + relative_path


RAW = SampleRawFile(
    "20250115_sample.raw", f"s3://{BUCKET}", {"20250115_sample.raw": 4 * PART_SIZE_MIB * MIB + 1_234_567}
)
FOLDER = SampleRawFile(
    "20250115_sample.d",
    f"s3://{BUCKET}",
    {
        "20250115_sample.d/analysis.tdf": 1 * MIB + 17,
        "20250115_sample.d/analysis.tdf_bin": 2 * PART_SIZE_MIB * MIB + 4_321,
        "20250115_sample.d/calibration.bin": PART_SIZE_MIB * MIB,
        "20250115_sample.d/Storage.mcf_idx": 0,
        "20250115_sample.d/1234.m/microTOFQImpacTemAcquisition.method": 70_123,
        "20250115_sample.d/1234.m/diagnostics/log.txt": 2_048,
    },
)
PAIR = SampleRawFile(
    "20250115_sample.wiff",
    f"s3://{BUCKET}/20250115_sample.wiff/",
    {"20250115_sample.wiff": 300_000, "20250115_sample.wiff.scan": PART_SIZE_MIB * MIB + 2 * MIB + 5},
)
SAMPLES = (RAW, FOLDER, PAIR)


def generate(sample: SampleRawFile, instrument_folder: Path, seed: int = SEED) -> None:
    """Write the files of a sample below `instrument_folder`, the same bytes for the same seed."""
    for relative_path, size in sample.sizes.items():
        file = instrument_folder / relative_path
        file.parent.mkdir(parents=True, exist_ok=True)
        # Seeded by the path too, so that no two files are alike: a mix-up must not pass for a restore.
        file.write_bytes(random.Random(f"{seed}/{relative_path}").randbytes(size))  # noqa: S311 - no secret


def upload_like_the_host(
    sample: SampleRawFile,
    instrument_folder: Path,
    s3_client: Any,
    raw_files: Collection[dict[str, Any]],
    part_size_mib: int = PART_SIZE_MIB,
) -> dict[str, Any]:
    """Upload a sample to its bucket, made if missing, and store its document.

    Args:
        sample: what to upload.
        instrument_folder: where `generate` has put its files.
        s3_client: a boto3 S3 client.
        raw_files: the collection `krakendb.raw_file`, of a user who may write.
        part_size_mib: part size and multipart threshold.

    Returns:
        The document as stored.
    """
    _make_bucket(sample.bucket, s3_client)
    file_info = {
        relative_path: _file_info_item(instrument_folder / relative_path, part_size_mib)
        for relative_path in sample.sizes
    }
    # Threshold and part size are alike, so a file of exactly one part is already a multipart upload, of one part.
    config = TransferConfig(multipart_threshold=part_size_mib * MIB, multipart_chunksize=part_size_mib * MIB)
    for relative_path in sample.sizes:
        s3_client.upload_file(
            str(instrument_folder / relative_path), sample.bucket, sample.key(relative_path), Config=config
        )
    document = {
        "_id": sample.raw_file_id,
        "original_name": sample.raw_file_id,
        "instrument_id": "sample1",
        "status": "done",
        "project_id": sample.project_id,
        "size": sum(sample.sizes.values()),
        "created_at": datetime.now(tz=UTC),
        "backup_status": "upload_done",
        "s3_upload_path": sample.s3_upload_path,
        "file_info": file_info,
    }
    raw_files.replace_one({"_id": sample.raw_file_id}, document, upsert=True)
    return document


def differences(sample: SampleRawFile, instrument_folder: Path, restored_folder: Path) -> list[str]:
    """Compare the restored files of a sample with the instrument's, byte by byte; one line per difference."""
    problems = []
    for relative_path in sample.sizes:
        restored = restored_folder / relative_path
        if not restored.is_file():
            problems.append(f"{restored} is missing")
        elif _sha256(restored) != _sha256(instrument_folder / relative_path):
            problems.append(f"{restored} differs from the instrument's file")
    return problems


def strangers(samples: Iterable[SampleRawFile], restored_folder: Path) -> list[str]:
    """Return what lies below a project's output that is neither a file of these samples nor a status report."""
    known = {restored_folder / relative_path for sample in samples for relative_path in sample.sizes}
    known |= set(restored_folder.glob("_download_status_*.txt"))
    return sorted(str(path) for path in restored_folder.rglob("*") if not path.is_dir() and path not in known)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _make_bucket(bucket: str, s3_client: Any) -> None:
    if bucket in {known["Name"] for known in s3_client.list_buckets()["Buckets"]}:
        return
    s3_client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": s3_client.meta.region_name})
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3_client.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
    )


def _file_info_item(file: Path, part_size_mib: int) -> list[Any]:
    """Return `[size, md5, "<etag>__<part size in MiB>"]`."""
    whole = hashlib.md5(usedforsecurity=False)
    parts = []
    for part in _read_parts(file, part_size_mib * MIB):
        whole.update(part)
        parts.append(hashlib.md5(part, usedforsecurity=False).digest())
    etag = whole.hexdigest()
    if len(parts) > 1:
        etag = f"{hashlib.md5(b''.join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"
    return [file.stat().st_size, whole.hexdigest(), f"{etag}__{part_size_mib}"]


def _read_parts(file: Path, part_size: int) -> Iterator[bytes]:
    with file.open("rb") as content:
        while part := content.read(part_size):
            yield part
