"""Which code computes MD5: the native module where it is installed and proves itself, else hashlib. Same results.

The environment variable `S3_RESTORE_MD5` forces one, for tests and measurements: `hashlib`, or an instruction set of
the native module (`scalar`, `base`, `avx2`, `avx512`).
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Iterable
from typing import Any

from s3_restore.disk.md5_selftest import fault_of
from s3_restore.model.checksums import Hasher

FORCED_BY = "S3_RESTORE_MD5"
_MODULE = "s3_restore_md5"


def _load() -> tuple[Any, str]:
    """Load and prove the native module.

    Returns:
        The module, None to use hashlib; and how the log names what hashes, with the reason.

    """
    forced = os.environ.get(FORCED_BY, "")
    if forced == "hashlib":
        return None, f"hashlib ({FORCED_BY} says so)"
    try:
        module = importlib.import_module(_MODULE)
    except ImportError as error:
        why = "is not installed" if error.name == _MODULE else f"cannot be loaded: {error}"
        return None, f"hashlib (the native module {_MODULE} {why})"
    except Exception as error:  # noqa: BLE001 - whatever it does, hashlib can do the work
        return None, f"hashlib (the native module {_MODULE} cannot be loaded: {type(error).__name__}: {error})"
    try:
        return _proved(module, forced)
    except Exception as error:  # noqa: BLE001 - whatever it does, hashlib can do the work
        return None, f"hashlib (the native module {_MODULE} failed its self-test: {type(error).__name__}: {error})"


def _proved(module: Any, forced: str) -> tuple[Any, str]:
    if forced:
        if forced not in module.instruction_sets():
            offered = ", ".join(module.instruction_sets())
            return None, f"hashlib ({FORCED_BY}={forced}: expected hashlib or one of {offered} on this processor)"
        module.select(forced)
    if fault := fault_of(module):
        return None, f"hashlib (the native module {_MODULE} failed its self-test: {fault})"
    return module, f"{_MODULE}, {module.instruction_set()}, {module.lane_count()} at once"


_native, DESCRIPTION = _load()
"""What hashes and why, as the log of a run says it."""
BACKEND_NAME: str = f"native {_native.instruction_set()}" if _native else "hashlib"
LANES: int = _native.lane_count() if _native else 1


def new_md5() -> Hasher:
    """Begin an MD5 that `update_many` takes; it identifies bytes here and secures nothing."""
    hasher: Hasher = _native.MD5() if _native else hashlib.md5(usedforsecurity=False)
    return hasher


def is_native(hasher: Hasher) -> bool:
    """Whether ``update_many`` hashes it beside others, and not one after the other."""
    return _native is not None and isinstance(hasher, _native.MD5)


def update_many(jobs: Iterable[tuple[Hasher, Any]]) -> None:
    """Feed to each state its buffer; at once where the back end can.

    Raises:
        ValueError: if a state is given twice; nothing was hashed then.

    """
    pairs = list(jobs)
    if _native:
        _native.update_many(pairs)
        return
    if len({id(state) for state, _ in pairs}) < len(pairs):
        raise ValueError("update_many: an MD5 was given twice; nothing was hashed")
    for state, data in pairs:
        state.update(data)
