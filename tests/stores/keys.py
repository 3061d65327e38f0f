"""Names of files that stores, proxies and clients have got wrong, and more of their kind drawn by a seed."""

import random
import unicodedata

SEED = 11
_UMLAUTS = "Probe_äöüß_µg"

FIXED = (
    "with space.raw",
    " leading and trailing ",
    "two  spaces.raw",
    "plus+sign+.raw",
    "100%.raw",
    "%20 and %zz.raw",
    "a%2Fb.raw",
    "a%252Fb.raw",
    "%2e%2e.raw",
    "a..b",
    "..a",
    "a..",
    "...",
    "folder..name/x.raw",
    "a.b/.c/d",
    unicodedata.normalize("NFC", _UMLAUTS) + ".raw",
    unicodedata.normalize("NFD", _UMLAUTS) + ".raw",
    "日本語/файл.raw",
    "🧪 emoji.raw",
    "single'quote.raw",
    'double"quote.raw',
    "a&b=c?d#e.raw",
    "?versionId=1",
    "#fragment",
    "semi;colon,comma.raw",
    "brackets[1]{2}(3)<4>.raw",
    "back\\slash.raw",
    "star*tilde~at@excl!dollar$caret^.raw",
    "pipe|back`tick.raw",
    "colon:in:name.raw",
    "trailing.dot.",
    "-leading-dash",
    "~tilde",
    "m" * 210,
    "ö" * 105,
    "n" * 240,
    "ü" * 120,
    "/".join(["deep" * 10] * 12) + "/leaf.raw",
    "tab\there.raw",
    "line\nfeed.raw",
    "control\x01\x7f.raw",
    "no-break\u00a0space\u200b.raw",
)
"""Relative paths as `file_info` has them; each is a right name on Linux, and a right key by AWS's rules."""

_LETTERS = "ab" + " +%&=?#;:,'\"[]{}()<>|\\^`~@!$*._-" + "äßéø漢я🧬" + "\u0308"


def drawn(seed: int, count: int) -> list[str]:
    """Draw names of the same kind: every character may meet every other."""
    rng = random.Random(f"keys {seed}")
    names: set[str] = set()
    while len(names) < count:
        components = ["".join(rng.choices(_LETTERS, k=rng.randint(1, 24))) for _ in range(rng.choice((1, 1, 2)))]
        if not any(component in (".", "..") or component.startswith(".s3dl") for component in components):
            names.add("/".join(components))
    return sorted(names)
