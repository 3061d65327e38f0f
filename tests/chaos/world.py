"""A scenario made real: objects in S3, files on disk, a settings file, and what of it must never change."""

# ruff: noqa: PTH115

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from s3_restore.disk import owners
from tests.chaos.intruders import Done
from tests.chaos.scenarios import ChaosFile, Scenario
from tests.support.raw_files import MIB, md5, multipart_etag, raw_bytes, s3_etag
from tests.support.s3_stand_in import AttributesMode, S3StandIn

RAW_FILE_ID = "20250115_chaos.d"
PROJECT_ID = "PRID001"
BUCKET = "alphakraken-prid001"
ASIDE = ".corrupted"
WRONG_MODE = 0o604  # of files that are wrong in the beginning; none that any umask gives
OTHERS_MODE = 0o644  # of right files that another program put there
_NO_SUCH_PID = 4_194_303  # the largest there can be on 64-bit Linux; in practice never reached


@dataclass(frozen=True)
class Entry:
    """One name on disk. ``content`` is an MD5, or where a link points to."""

    kind: str
    inode: int = 0
    mtime_ns: int = 0
    size: int = 0
    mode: int = 0
    links: int = 1
    content: str = ""

    @property
    def state(self) -> tuple[object, ...]:
        """What must be equal for it to count as untouched; a hard link to it, made and removed, is no touch."""
        return self.kind, self.inode, self.mtime_ns, self.size, self.content


Snapshot = Mapping[str, Entry]


class World:
    """See the module. ``folder`` must be empty; the destination is somewhere below it, with neighbours."""

    def __init__(self, scenario: Scenario, folder: Path, server: S3StandIn) -> None:
        self.scenario = scenario
        self.root = folder / "root"
        self.output = self.root / "output"
        self.destination = self.output / PROJECT_ID
        self.settings_file = folder / "alphakraken.yaml"
        self.server = server
        self.data = {file.path: raw_bytes(file.size, f"{scenario.seed} {file.path}") for file in scenario.files}
        self.right = {path: md5(data) for path, data in self.data.items()}
        self.given_up: set[str] = set()  # paths whose old bytes another program has overwritten or deleted
        self.others: dict[str, str] = {}  # files of others, by name as in snapshots -> MD5; they must stay
        self._make_neighbours()
        for file in scenario.files:
            self._make_local(file)
        server.attributes = AttributesMode[scenario.attributes]
        server.create_bucket(BUCKET)
        for file in scenario.files:
            if file.path not in scenario.absent:
                self.upload(file)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The RawFile document."""
        return {
            "_id": RAW_FILE_ID,
            "project_id": PROJECT_ID,
            "backup_status": "upload_done",
            "s3_upload_path": f"s3://{BUCKET}/{self.scenario.prefix}",
            "file_info": {file.path: self._file_info(file) for file in self.scenario.files},
        }

    def write_settings(self, **s3_download: Any) -> str:
        """Write a settings file of its own for one attempt; returns its path."""
        path = self.settings_file.with_name(f"alphakraken.{s3_download.pop('name')}.yaml")
        settings = {
            "locations": {"output": {"absolute_path": str(self.output)}},
            "backup": {"backup_type": "s3", "s3": {"region": "eu-central-1", "bucket_prefix": "alphakraken"}},
            "s3_download": s3_download,
        }
        path.write_text(yaml.safe_dump(settings))
        return str(path)

    def upload(self, file: ChaosFile) -> None:
        """Put an object as ``file_info`` describes it."""
        if file.path and "\0" not in file.path:
            part = file.upload_part if file.size else None
            self.server.put(
                BUCKET, self.scenario.prefix + file.path, self.data[file.path], part_size=part, checksum=file.checksum
            )

    def note_others(self, others: Iterable[Done]) -> None:
        """Note what other programs did."""
        for done in others:
            if done.moved_to:
                if done.is_sure or (self.destination / done.moved_to).exists():
                    self.others[self.final(done.moved_to)] = done.content
            else:
                self.given_up.add(done.path)

    def replace_object(self, path: str) -> None:
        """Put other bytes of the same size in its place."""
        other = raw_bytes(len(self.data[path]), "somebody else's file")
        self.server.put(BUCKET, self.scenario.prefix + path, other)

    def key(self, path: str) -> str:
        return self.scenario.prefix + path

    # --- looking ---------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Entry]:
        """Everything below the root, by path relative to the root."""
        return {os.path.relpath(path, self.root): entry for path, entry in _walk(str(self.root))}

    def read_again(self, path: str) -> Entry | None:
        """What is at a final path now: reading could have gone wrong, or somebody may still be writing."""
        return self.snapshot().get(self.final(path))

    def final(self, path: str) -> str:
        """Where a file belongs, as a key of snapshots."""
        return os.path.relpath(self.destination / path, self.root)

    # --- making ----------------------------------------------------------------------------------------------------

    def _make_neighbours(self) -> None:
        self.destination.mkdir(parents=True)
        for path in ("output/PRID002/other.raw", "output/notes.txt", "outside/precious.raw", "outside/folder/y.raw"):
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(raw_bytes(1000, path))
        for name in self.scenario.strangers:
            (self.destination / name).write_bytes(raw_bytes(500, name))

    def _make_local(self, file: ChaosFile) -> None:
        if not file.restorable and file.local not in ("folder", "link", "right"):
            return
        path = self.destination / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        data = self.data[file.path]
        if file.local == "folder":
            path.mkdir()
            (path / "inside.txt").write_text("a folder where a file belongs")
        elif file.local == "link":
            path.symlink_to(self.root / "outside" / "precious.raw")
        elif file.local != "missing":
            path.write_bytes(wrong_bytes(data, file.local))
            path.chmod(WRONG_MODE if file.local != "right" else OTHERS_MODE)
        if file.aside:
            aside = raw_bytes(700, f"aside {file.path}")
            path.with_name(path.name + ASIDE).write_bytes(aside)
            self.others[self.final(file.path) + ASIDE] = md5(aside)
        if file.leftover and file.restorable:
            self._make_leftover(file, path)

    def _make_leftover(self, file: ChaosFile, path: Path) -> None:
        """What an attempt left that died: garbage, with or without a journal that vouches for it."""
        host = "0123abcd" if file.leftover == "foreign" else owners._host()
        digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]
        part = path.with_name(f".s3dl.{digest}.{host}-{_NO_SUCH_PID}-77-1.part")
        garbage = raw_bytes(len(self.data[file.path]), f"garbage {file.path}")
        part.write_bytes(garbage)
        if file.leftover == "lying journal":
            stored = self.server.put("scratch", "scratch", self.data[file.path], part_size=file.upload_part)
            size = len(garbage)
            # The stream size that a file of this form gets; for another one the journal is merely ignored.
            stream = file.part_mib * MIB if file.form == "H2" and size > file.part_mib * MIB else max(1, size)
            header = {"format": 1, "bucket": BUCKET, "key": self.key(file.path), "etag": stored.etag}
            header |= {"version_id": "", "size": size, "stream_size": stream}
            count = min(stream, size, 64 * 1024)
            line = {"s": 0, "n": count, "md5": md5(garbage[:count])}
            part.with_suffix(".journal").write_text(f"{json.dumps(header)}\n{json.dumps(line)}\n{{torn")

    def _file_info(self, file: ChaosFile) -> Any:
        data = self.data[file.path]
        if file.form == "none":
            return file.stored
        if file.form == "H3" and file.size:
            return [len(data), multipart_etag(data, file.upload_part)]
        if file.form == "H2":
            return [len(data), md5(data), f"{s3_etag(data, file.part_mib * MIB)}__{file.part_mib}"]
        return [len(data), md5(data)]


def wrong_bytes(data: bytes, local: str) -> bytes:
    """The bytes of a local state."""
    if local == "bit flipped":
        middle = len(data) // 2
        return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    return {
        "right": data,
        "shorter": data[: len(data) // 2],
        "longer": data + b"more",
        "zeros": bytes(len(data)),
    }[local]


def _walk(folder: str) -> Iterator[tuple[str, Entry]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            common = (status.st_ino, status.st_mtime_ns, status.st_size, stat.S_IMODE(status.st_mode), status.st_nlink)
            if entry.is_symlink():
                yield entry.path, Entry("link", *common, os.readlink(entry.path))
            elif entry.is_dir(follow_symlinks=False):
                yield entry.path, Entry("folder")
                yield from _walk(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield entry.path, Entry("file", *common, md5(Path(entry.path)))
            else:
                yield entry.path, Entry("other", *common)
