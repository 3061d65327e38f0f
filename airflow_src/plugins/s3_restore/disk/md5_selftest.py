"""Proves an MD5 module before one of its digests is believed: a wrong one could become a wrong OK."""

from __future__ import annotations

import hashlib
import random
from typing import Any

# RFC 1321, appendix A.5.
_VECTORS = {
    b"": "d41d8cd98f00b204e9800998ecf8427e",
    b"a": "0cc175b9c0f1b6a831c399e269772661",
    b"abc": "900150983cd24fb0d6963f7d28e17f72",
    b"message digest": "f96b697d7cb7938d525a2f31aaf161d0",
    b"abcdefghijklmnopqrstuvwxyz": "c3fcd3d76192e4007dfb496cca67e13b",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789": "d174ab98d277d9f5a5611c2c9f419d9f",
    b"1234567890" * 8: "57edf4a22be3c955ac49da2e2107b67a",
}


def fault_of(module: Any) -> str | None:
    """Try what the module's present instruction set can do; takes milliseconds.

    Returns:
        What is wrong, None for nothing.

    """
    for text, expected in _VECTORS.items():
        if (got := module.MD5(text).hexdigest()) != expected:
            return f"MD5 of {text!r}: expected {expected}, got {got}"
    numbers = random.Random(1321)  # noqa: S311 - the same streams each time
    for streams in range(1, 2 * module.lane_count() + 2):
        if fault := _fault_with(module, streams, numbers):
            return fault
    return None


def _fault_with(module: Any, streams: int, numbers: random.Random) -> str | None:
    """Hash so many streams at once, in pieces of random lengths, and copies taken midway."""
    expected = [hashlib.md5(usedforsecurity=False) for _ in range(streams)]
    states = [module.MD5() for _ in range(streams)]
    copies: list[tuple[Any, str]] = []
    for most_blocks in (1, 8, 40):
        # All lanes go on for as many blocks as the shortest has; then whole blocks, nearly whole ones, and anything.
        together = 64 * numbers.randrange(most_blocks)
        more = [numbers.choice((0, 64, 128, 55, 119, numbers.randrange(700))) for _ in states]
        pieces = [numbers.randbytes(together + count) for count in more]
        module.update_many(list(zip(states, pieces, strict=True)))
        for reference, piece in zip(expected, pieces, strict=True):
            reference.update(piece)
        copies.append((states[-1].copy(), expected[-1].hexdigest()))
    pairs = [(state, reference.hexdigest()) for state, reference in zip(states, expected, strict=True)] + copies
    for state, wanted in pairs:
        if (got := state.hexdigest()) != wanted:
            return f"{streams} streams at once: expected {wanted}, got {got}"
    return None
