"""Errors of the restore, in one tree. ``str()`` of each is one line.

::

    Exception
    ├── StoppedError              the run was asked to end
    ├── CredentialsError          a request could not be signed; ``s3`` makes an ObjectStoreError of it
    ├── ChangedMeanwhileError     another program or run changed the file between the look at it and the act on it
    ├── RestoreError              failure: why, from ``reasons``
    │   ├── DestinationGoneError      the destination is away: not about a file, so the run ends and may be tried again
    │   ├── BlockedPathError          something that is not ours to touch is where the file belongs, or above it
    │   ├── HashMismatchError         bytes are not the expected ones
    │   ├── UnusableValueError        a setting or a connection cannot be used (also a ValueError)
    │   └── ObjectStoreError          code: the store's error code, if any
    │       ├── TransientStoreError       worth another try: reset, short body, 5xx, SlowDown
    │       │   └── StoreUnreachableError     nothing answered: refused, no route, time-out
    │       ├── ObjectChangedError        the object is no longer the version that was begun with (HTTP 412)
    │       └── PermanentStoreError       another try gives the same: missing, denied, archived, unusable answer
    └── OSError
        └── NotOnStorageError     bytes or names could not be brought to the storage

``run.failures`` says what each of them, and any other error, means for the operator and for the run. Settings and
database have RestoreErrors of their own (``SettingsError``, ``DatabaseUnavailableError``).
"""

from __future__ import annotations

from s3_restore.model.reasons import Failure


class StoppedError(Exception):
    """The run was asked to end."""


class CredentialsError(Exception):
    """A request could not be signed: the token service does not give credentials. Its cause says why."""


class ChangedMeanwhileError(Exception):
    """Another program or run changed the file between the look at it and the act on it."""


class RestoreError(Exception):
    """Something failed for a reason that an operator can do something about."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


class DestinationGoneError(RestoreError):
    """The destination vanished, as when a mount is lost: the run ends and may be tried again."""


class BlockedPathError(RestoreError):
    """Something is in the way at a final path or above it."""


class HashMismatchError(RestoreError):
    """Bytes are not the expected ones."""


class UnusableValueError(RestoreError, ValueError):
    """A setting or a connection cannot be used."""


class ObjectStoreError(RestoreError):
    """The store did not deliver."""

    def __init__(self, failure: Failure, code: str = "") -> None:
        super().__init__(failure)
        self.code = code


class TransientStoreError(ObjectStoreError):
    """Worth another try."""


class StoreUnreachableError(TransientStoreError):
    """Worth another try, but where many files meet it the store is down."""


class ObjectChangedError(ObjectStoreError):
    """The object was replaced since the download began."""


class PermanentStoreError(ObjectStoreError):
    """Another try gives the same."""


class NotOnStorageError(OSError):
    """Bytes or names could not be brought to the storage, so what the kernel shows of the file proves nothing (W8)."""
