"""What the tests do to a store, as uploaders and other people do: buckets, uploads in one or more parts, versions."""

import json
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from tests.stores.servers import REGION


@dataclass
class Bucket:
    """One bucket, written to with its owner's keys."""

    client: Any
    name: str
    versions: dict[str, list[str]] = field(default_factory=dict)
    """Version ids of each key in the order of their making; empty texts where the store has none."""

    def create(self) -> "Bucket":
        """Make it. Some stores want to hear a region, others refuse to hear one."""
        try:
            self.client.create_bucket(Bucket=self.name)
        except ClientError:
            self.client.create_bucket(Bucket=self.name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return self

    def keep_versions(self) -> None:
        self.client.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})

    def put(self, key: str, data: bytes, part_size: int | None = None, **options: Any) -> str:
        """Upload an object as one, or in parts of `part_size` bytes (at least one); returns its version id."""
        where = {"Bucket": self.name, "Key": key}
        if part_size is None:
            answer = self.client.put_object(**where, Body=data, **options)
        else:
            upload = {**where, "UploadId": self.client.create_multipart_upload(**where, **options)["UploadId"]}
            parts = []
            for number, start in enumerate(range(0, len(data) or 1, part_size), start=1):
                body = data[start : start + part_size]
                part = self.client.upload_part(**upload, PartNumber=number, Body=body, **options)
                checksums = {name: value for name, value in part.items() if name.startswith("Checksum")}
                parts.append({"PartNumber": number, "ETag": part["ETag"], **checksums})
            answer = self.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        version = str(answer.get("VersionId") or "")
        self.versions.setdefault(key, []).append(version)
        return version

    def allow(self, who: str, *actions: str) -> None:
        """Let somebody (`*` for all, without a signature too) do no more than this in the bucket."""
        things = [f"arn:aws:s3:::{self.name}", f"arn:aws:s3:::{self.name}/*"]
        statement = {"Effect": "Allow", "Principal": {"AWS": [who]}, "Action": list(actions), "Resource": things}
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self.client.put_bucket_policy(Bucket=self.name, Policy=json.dumps(policy))

    def delete(self, key: str) -> None:
        """Delete it; where there are versions, this adds a delete marker."""
        self.client.delete_object(Bucket=self.name, Key=key)

    def holds(self, key: str, data: bytes) -> bool:
        """Whether the store gives these bytes for this key."""
        try:
            return bool(self.client.get_object(Bucket=self.name, Key=key)["Body"].read() == data)
        except ClientError:
            return False
