"""Runs a test with one of the two codes that compute MD5, whichever this machine would choose."""

import pytest

from s3_restore.disk import md5_backend

BACK_ENDS = ("hashlib", "native")


def use_back_end(patch: pytest.MonkeyPatch, name: str) -> None:
    """Use it in this process and those that it starts; skips the test where the native module is not installed."""
    native = None  # as where it is not installed
    if name == "native":
        native = pytest.importorskip("s3_restore_md5", reason="the native MD5 module is not installed (make native)")
    patch.setattr(md5_backend, "_native", native)
    patch.setattr(md5_backend, "LANES", native.lane_count() if native else 1)
    patch.setattr(md5_backend, "BACKEND_NAME", f"native {native.instruction_set()}" if native else "hashlib")
    patch.setenv(md5_backend.FORCED_BY, "" if native else "hashlib")
