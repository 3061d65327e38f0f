"""What should be there: one FileSpec for each entry of ``file_info``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from s3_restore.model import reasons
from s3_restore.model.expected_hash import ExpectedHash, parse_expected_hash
from s3_restore.model.names import MAX_NAME_BYTES, TEMPORARY_NAME
from s3_restore.model.reasons import Failure


@dataclass(frozen=True)
class FileSpec:
    """One file to restore.

    Attributes:
        relative_path: POSIX path below the destination, as ``file_info`` has it.
        bucket: name of the bucket.
        key: key of the object.
        size: bytes; None when ``file_info`` has no usable size (then the hash alone proves).
        expected: hash taken at the instrument; None when ``file_info`` has no usable one.

    """

    relative_path: str
    bucket: str
    key: str
    size: int | None
    expected: ExpectedHash | None

    @property
    def problem(self) -> Failure | None:
        """Why this entry cannot be restored whatever is on disk or in S3; None when it can (W4, H4)."""
        unsafe = why_unsafe(self.relative_path)
        if unsafe:
            return reasons.UNSAFE_PATH.of(unsafe)
        if self.expected is None:
            return reasons.NO_EXPECTED_HASH.of()
        return None


def why_unsafe(relative_path: object) -> str | None:  # noqa: PLR0911 (one line a reason reads best)
    """Say what is wrong with a path that must stay below the destination; None when nothing is."""
    if not isinstance(relative_path, str):
        return f"not a text but {type(relative_path).__name__}"
    if not relative_path:
        return "empty"
    if "\0" in relative_path:
        return "has a NUL character"
    if relative_path.startswith("/"):
        return "absolute"
    components = relative_path.split("/")
    if ".." in components:
        return "has '..'"
    if "" in components or "." in components:
        return "has an empty or '.' component"
    if TEMPORARY_NAME.fullmatch(components[-1]):
        return "has the name of a temporary file of ours"
    try:
        relative_path.encode()
    except UnicodeEncodeError:
        return "is not valid Unicode"
    return None


def why_not_one_component(name: object) -> str | None:
    """Say why ``name`` cannot be the name of one folder directly below the output; None when it can (W4)."""
    unsafe = why_unsafe(name)
    if unsafe:
        return unsafe
    if "/" in str(name):
        return "has a '/'"
    if not str(name).isprintable():
        return "has a control character"
    if len(str(name).encode()) > MAX_NAME_BYTES:
        return "is too long"
    return None


def parse_size(stored: object) -> int | None:
    """Read the size of a ``file_info`` value: a whole number of bytes (the host stores floats too), else None."""
    if isinstance(stored, bool) or not isinstance(stored, (int, float)):
        return None
    if stored != stored or stored in (float("inf"), float("-inf")) or stored < 0 or int(stored) != stored:  # noqa: PLR0124 (NaN)
        return None
    return int(stored)


def build_file_specs(
    parsed_file_info: Mapping[str, tuple[object, ExpectedHash | str | None]], s3_paths: Mapping[str, tuple[str, str]]
) -> list[FileSpec]:
    """Join what the database says of each file with where its object is.

    Args:
        parsed_file_info: relative path -> (size, expected hash), as ``parse_file_info_item`` gives them: ours an
            ExpectedHash, that of a host perhaps the bare text of an MD5 or an ETag.
        s3_paths: relative path -> (bucket, key), as ``reconstruct_s3_paths`` gives them.

    """
    return [
        FileSpec(
            relative_path=path,
            bucket=s3_paths[path][0],
            key=s3_paths[path][1],
            size=parse_size(size),
            expected=_as_expected_hash(expected),
        )
        for path, (size, expected) in parsed_file_info.items()
    ]


def _as_expected_hash(stored: object) -> ExpectedHash | None:
    return stored if isinstance(stored, ExpectedHash) else parse_expected_hash([None, stored, stored])


def is_included(relative_path: str, glob: str) -> bool:
    """Whether a path, or the file name at its end, matches a glob such as ``*.tdf*`` or ``x.d/1234.m/*``."""
    return fnmatchcase(relative_path, glob) or fnmatchcase(relative_path.rpartition("/")[2], glob)


def total_bytes(specs: Sequence[FileSpec]) -> int:
    """Add up the sizes, unknown ones as 0."""
    return sum(spec.size or 0 for spec in specs)
