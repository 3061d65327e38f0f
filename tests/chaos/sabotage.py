"""Ways to break the product inside a child, to see that the invariants notice."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def trusts_everything() -> None:
    """Any bytes prove a file (breaks H1 to H3, W1)."""
    from s3_restore.model.expected_hash import ExpectedHash  # noqa: PLC0415 (only where it runs)

    ExpectedHash.is_proved_by = lambda _self, _digests: True  # type: ignore[method-assign]


def deletes_corrupted_files() -> None:
    """A corrupted file is deleted and not set aside (breaks W2)."""
    from s3_restore.disk.quarantine import Quarantine, Quarantined  # noqa: PLC0415

    set_aside = Quarantine.set_aside

    def delete(self: Quarantine, path: Path, *arguments: Any) -> Quarantined:
        version = set_aside(self, path, *arguments)
        version.path.write_bytes(b"")
        return version

    Quarantine.set_aside = delete  # type: ignore[method-assign]


def is_deaf() -> None:
    """SIGTERM ends the process at once (breaks A5)."""
    from impl import handler_impl  # noqa: PLC0415
    from impl.termination import Ends  # noqa: PLC0415

    @contextlib.contextmanager
    def nothing() -> Iterator[Ends]:
        yield Ends()

    handler_impl.noting_ends = nothing


def downloads_in_place() -> None:
    """Bytes go to the final path at once (breaks W1)."""
    from s3_restore.disk import temporary_files  # noqa: PLC0415

    temporary_files.temporary_name = lambda name, _owner, _kind: name


def forgets_temporary_files() -> None:
    """What cannot be resumed is left (breaks W5)."""
    from s3_restore.disk.open_file import TemporaryFile  # noqa: PLC0415
    from s3_restore.disk.temporary_files import TemporaryFiles  # noqa: PLC0415

    TemporaryFile.remove = TemporaryFile.close  # type: ignore[method-assign]
    TemporaryFiles.remove_leftovers = lambda _self, _final: None  # type: ignore[method-assign]
    TemporaryFiles.take_over = lambda _self, _final: None  # type: ignore[method-assign]


def rewrites_right_files() -> None:
    """A right file is fetched all the same (breaks the skip)."""
    from s3_restore.model.decisions import Action, LocalState  # noqa: PLC0415
    from s3_restore.run import file_restore  # noqa: PLC0415

    decide = file_restore.decide

    def never_skip(local: LocalState) -> Action:
        return Action.HEAL if local is LocalState.RIGHT else decide(local)

    file_restore.decide = never_skip


def shares_bodies() -> None:
    """A temporary file of another host is taken over as it is (breaks W1, W6)."""
    from s3_restore.disk import temporary_files  # noqa: PLC0415

    temporary_files._replace_by_copy = lambda _mine, _heartbeat: None


def never_syncs() -> None:
    """Bytes and names are left to the kernel (breaks W8)."""
    from s3_restore.disk import open_file, swap  # noqa: PLC0415

    open_file.sync_fd = lambda _fd: None
    swap.sync_folder = lambda _folder: None


def never_looks_again() -> None:
    """The report says what was right at some time (breaks W10)."""
    from s3_restore.run.last_look import LastLook  # noqa: PLC0415

    def confirm_all(self: Any) -> None:
        for right in self._ledger.right_files:
            self._ledger.confirm(right)

    LastLook.take = confirm_all  # type: ignore[method-assign]


def dawdles_when_asked_to_end() -> None:
    """Waits, where a task that was asked to end should report and go (breaks A5)."""
    from impl.restore_run import RestoreRun  # noqa: PLC0415 (only where it runs)

    settle = RestoreRun._settle

    def wait_first(self: Any, *arguments: Any) -> Any:
        time.sleep(6.0)
        return settle(self, *arguments)

    RestoreRun._settle = wait_first  # type: ignore[method-assign]


def takes_any_aside_for_its_own() -> None:
    """Whatever is called .corrupted is healed, and deleted (breaks W9)."""
    from s3_restore.disk.open_file import Identity  # noqa: PLC0415
    from s3_restore.disk.quarantine import Quarantine, Quarantined  # noqa: PLC0415

    def find(_self: Quarantine, final: Path) -> list[Quarantined]:
        path = final.with_name(f"{final.name}.corrupted")
        return [Quarantined(path, path, Identity.of(path.lstat()))] if path.exists() else []

    Quarantine.find = find  # type: ignore[method-assign]


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
        never_syncs,
        never_looks_again,
        dawdles_when_asked_to_end,
        takes_any_aside_for_its_own,
    )
}
