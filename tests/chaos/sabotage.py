"""Ways to break the product inside a child, to see that the invariants notice."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path


def trusts_everything() -> None:
    """Any bytes prove a file (breaks H1 to H3, W1)."""
    from s3_restore.expected_hash import ExpectedHash  # noqa: PLC0415 (only where it runs)

    ExpectedHash.is_proved_by = lambda _self, _digests: True  # type: ignore[method-assign]


def deletes_corrupted_files() -> None:
    """A corrupted file is deleted and not set aside (breaks W2)."""
    from s3_restore.local_files import LocalFiles  # noqa: PLC0415

    set_aside = LocalFiles.set_aside

    def delete(self: LocalFiles, path: Path, seen: object) -> Path:
        aside = set_aside(self, path, seen)  # type: ignore[arg-type]
        aside.write_bytes(b"")
        return aside

    LocalFiles.set_aside = delete  # type: ignore[method-assign]


def is_deaf() -> None:
    """SIGTERM ends the process at once (breaks A5)."""
    from impl import handler_impl  # noqa: PLC0415

    @contextlib.contextmanager
    def nothing() -> Iterator[None]:
        yield

    handler_impl.sigterm_raises = nothing


def downloads_in_place() -> None:
    """Bytes go to the final path at once (breaks W1)."""
    from s3_restore import local_files  # noqa: PLC0415

    local_files._temporary_path = lambda final, _owner: final


def forgets_temporary_files() -> None:
    """What cannot be resumed is left (breaks W5)."""
    from s3_restore.local_files import LocalFiles, TemporaryFile  # noqa: PLC0415

    TemporaryFile.remove = TemporaryFile.close  # type: ignore[method-assign]
    LocalFiles.remove_leftovers = lambda _self, _final: None  # type: ignore[method-assign]
    LocalFiles.take_over_temporary = lambda _self, _final: None  # type: ignore[method-assign]


def rewrites_right_files() -> None:
    """A right file is fetched all the same (breaks the skip)."""
    from s3_restore import restorer  # noqa: PLC0415
    from s3_restore.decisions import Action, LocalState  # noqa: PLC0415

    decide = restorer.decide

    def never_skip(**facts: object) -> Action:
        return Action.HEAL if facts["local"] is LocalState.RIGHT else decide(**facts)  # type: ignore[arg-type]

    restorer.decide = never_skip


def shares_bodies() -> None:
    """A temporary file of another host is taken over as it is (breaks W1, W6)."""
    from s3_restore import local_files  # noqa: PLC0415

    local_files._replace_by_copy = lambda _mine, _final: None


SABOTAGES: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (
        trusts_everything,
        deletes_corrupted_files,
        is_deaf,
        downloads_in_place,
        forgets_temporary_files,
        rewrites_right_files,
        shares_bodies,
    )
}
