"""File systems that lack a call, by that call failing in this process; the real ones are in ``tests/disks``."""

import errno
import os

import pytest

from s3_restore.disk import syscalls

LACKING = pytest.mark.parametrize("lacking", ["", "links", "links and renameat2"])


def make_without(monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    """Let there be no hard links; or no rename either that overwrites nothing."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if lacking:
        monkeypatch.setattr(os, "link", refuse)
    if lacking == "links and renameat2":
        monkeypatch.setattr(syscalls, "renameat2", refuse)
