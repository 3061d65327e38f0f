"""Odd names on each server: restored where the server can hold them, at once and all of them."""

import pytest

from tests.stores.capabilities import can_hold
from tests.stores.keys import FIXED, SEED, drawn
from tests.stores.lab import ID, Lab
from tests.support import raw_files

pytestmark = pytest.mark.timeout(300)


def restore(lab: Lab, names: list[str], prefix: str) -> None:
    """Restore all these names below a prefix, and judge each."""
    for name in names:
        lab.files[name] = name.encode()
    info = raw_files.file_info(lab.files, "H1")
    lab.note(info, s3_upload_path=f"s3://{lab.bucket}/{prefix}".rstrip("/"))
    lab.download(ID)
    lab.assert_restored()
    with lab.wire() as again:
        assert lab.download(ID)["skipped"] == len(names)
    assert again.bytes == 0


@pytest.mark.parametrize("prefix", ["", "a b+c%20ü&=", "x/../y"], ids=lambda prefix: prefix or "none")
def test_fixed_names(lab: Lab, prefix: str):
    if not can_hold(lab.content, f"{prefix}/plain".lstrip("/")):
        pytest.skip(f"{lab.store_server.name} holds no key below {prefix!r}")
    held = [name for name in FIXED if can_hold(lab.content, f"{prefix}/{name}".lstrip("/"), name.encode())]
    assert len(held) > len(FIXED) // 2, "too few to say anything"
    restore(lab, held, prefix)


def test_drawn_names(lab: Lab):
    held = [name for name in drawn(SEED, 60) if can_hold(lab.content, f"keys/{name}", name.encode())]
    assert len(held) > 20, "too few to say anything"
    restore(lab, held, "keys")
