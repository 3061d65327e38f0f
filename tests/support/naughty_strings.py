"""Strings that break programs, as names, ids and paths: ours, in the spirit of the Big List of Naughty Strings."""

import re

# fmt: off
_EMPTY_AND_DOTS = (
    "", " ", "  ", ".", "..", "...", "....", "~", "~root", "-", "--help", "-rf *", "@", "*", "?",
)
_PATHS = (
    "/", "//", "\\", "\\\\server\\share", "C:", "C:\\x", "C:\\Windows\\..\\x", "file:///etc/passwd", "../..",
    "../../etc/passwd", "..\\..\\x", "a/../../b", "a/./b", "a//b", "/etc/passwd", "./a", "a/", "a/..", "/..",
    "ab/" * 60 + "c", "a/" * 1500 + "b", "x" * 255, "x" * 256, "\u00f6" * 127, "\u00f6" * 128, ".bashrc",
    ".ssh/authorized_keys", "dags/evil.py", "__init__.py", "lost+found", ".nfs000000", "@eaDir", ".DS_Store", "CON",
    "PRN", "aux.txt", "LPT1", "nul", "con.raw", "a.", "a ", " a", "a:b", "a*b", "a|b", 'a"b', "$MFT", "Thumbs.db",
)
_OUR_OWN = (
    "_download_status_x_20250204_143022.txt", "a.corrupted", ".corrupted", "a.corrupted_2", ".s3dl.", ".s3dl.part",
    ".s3dl.0123456789ab.0123abcd-1-1-1.part", ".s3dl.845e91831319.0123abcd-1-1-1.part", ".s3dl.x.y.journal",
)
_REPORT_LINES = (
    "Files:", "------", "Summary:", "Status: SUCCESS", "Total files: 0", "Raw File ID: x", ": ", ":", "a:", "a: ",
    "a: OK - Skipped (already exists)", "a.raw: OK - Downloaded and verified (1.0 MB in 1.0s)", "a: FAILURE - b",
    "\nb: OK - Downloaded and verified (1.0 MB in 1.0s)", "a\n\nSummary:\n--------\nStatus: SUCCESS", "\\n", "\\x3a ",
)
_URLS = (
    "%", "%00", "%25", "%zz", "%2e%2e%2f", "..%2f..", "a%2Fb", "a+b", "a b+c%20d", "&amp;", "?versionId=1",
    "#fragment", "a?b=c&d=e#f", "s3://", "s3:", "http://127.0.0.1:1/x", "user:password@host", "127.0.0.1", "[::1]",
    "xn--nxasmq6b", "arn:aws:s3:eu-central-1:123456789012:accesspoint:x", "a..b", "a_b.c-d", "UPPER", "bucket:80",
)
_CONTROL = (
    "\0", "a\0b", "\n", "a\nb", "\r", "\r\n", "\t", "\a\b\v\f", "\x1b[31mred\x1b[0m", "\x1b[2K\x1b[1A", "\x7f",
    "\x85", "\x1c\x1d\x1e", "\u2028", "\u2029", "\u200b", "\ufeff", "\u00ad", "\u202e\u202bfdp.exe", "\u2066x\u2069",
)
_CODE = (
    "undefined", "null", "NULL", "None", "nil", "true", "NaN", "Infinity", "0", "-1", "1e309", "0x0", "1/0",
    "__proto__", "'", '"', "`", "''", "' OR 1=1 --", '{"$gt": ""}', '{"$where": "sleep(9)"}', "$ne", "$(reboot)",
    "`reboot`", ".*", "; rm -rf /", "| cat", "&& true", "> x", "${HOME}", "{{ 7*7 }}", "{% raise %}", "%s%s%n",
    "{0.__class__}", "{}", "<script>alert(1)</script>", "]]>", "<!--", "<?xml?>", "&lol9;",
    "!!python/object/apply:os.system ['true']", "*anchor", "&anchor x", "- a", "a: b", "[", "}", "|", "2025-99-99",
    "!!int x", "1_000", "12:30:45", "0o7", "<<",
)
# Composed and decomposed e acute, ligature, Turkish and German case, full width, Ohm and Omega, scripts, emoji.
_UNICODE = (
    "\u00e9", "e\u0301", "\ufb00", "\u0130", "\u0131", "\u00df", "\u1e9e", "\uff21", "\u2126", "\u03a9",
    "\u65e5\u672c\u8a9e", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u05e2\u05d1\u05e8\u05d9\u05ea",
    "\u0661\u0662\u0663", "\U0001f9ea", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "Z\u0338\u0321\u0361a\u0334l\u0335g\u0337o\u0336", "\U0010ffff", "\ufffe", "\ufffd", "\xa0", "\u3000",
)
_NO_UNICODE = (
    "\ud800", "\udfff\ud800", "a\udc80b", "\udce9.raw",
)

# fmt: on

NAUGHTY = _EMPTY_AND_DOTS + _PATHS + _OUR_OWN + _REPORT_LINES + _URLS + _CONTROL + _CODE + _UNICODE + _NO_UNICODE


def is_encodable(text: str) -> bool:
    """Whether it can be written as UTF-8, and so stand in a database, a request or a file."""
    return not re.search("[\ud800-\udfff]", text)


ENCODABLE = tuple(filter(is_encodable, NAUGHTY))
