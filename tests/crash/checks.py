"""What must hold on the disk that a power cut left. Each check yields violations, one line each."""

from __future__ import annotations

import re
from collections.abc import Iterator

from s3_restore.model.outcomes import RestoreSummary
from tests.crash.disk import LOST_AND_FOUND, Crashed, CrashedFile, Disk, FolderNode
from tests.crash.scenarios import RestoredFile, Scenario
from tests.crash.stage import ASIDE, BEFORE, strangers

_TEMPORARY = re.compile(r"\.s3dl\.[0-9a-f]{12}\.[0-9a-f-]+\.(part|journal|aside|report)")
_REPORT = re.compile(r"_download_status_20250115_crash\.d_\d{8}_\d{6}(_\d+)?\.txt")
_OWN_ASIDE = re.compile(r"(?P<name>.+)\.corrupted(_\d+)?", re.DOTALL)


def check(scenario: Scenario, first: Crashed, crashed: Crashed, promised: set[str]) -> Iterator[str]:
    """Everything that holds at any time."""
    for file in scenario.files:
        yield from _check_final(scenario, first, crashed, file, is_promised=BEFORE + file.path in promised)
    yield from _check_reports(scenario, crashed)
    for path in promised - set(crashed):
        if _REPORT.fullmatch(path.rpartition("/")[2]):
            yield f"the report is not on the storage: {path}"
    yield from check_strangers(scenario, first, crashed)
    yield from _check_names(scenario, crashed)


def _check_final(
    scenario: Scenario, first: Crashed, crashed: Crashed, file: RestoredFile, *, is_promised: bool
) -> Iterator[str]:
    path = BEFORE + file.path
    now, was = crashed.get(path), first.get(path)
    right, wrong = scenario.right(file.path), scenario.wrong(file.path)
    is_right = isinstance(now, CrashedFile) and now.data == right
    folder = path.rpartition("/")[0]
    beside = [
        entry.data
        for name, entry in crashed.items()
        if isinstance(entry, CrashedFile) and name.rpartition("/")[0] in (folder, LOST_AND_FOUND)
    ]
    if is_promised and not is_right and not _is_just_moved(scenario, now, right in beside):
        yield f"called OK, and the storage has {_told(now, right)}: {file.path}"
    if file.local == "right" and now != was:
        yield f"a right file was lost or changed: {file.path}: {_told(now, right)}"
    if isinstance(now, CrashedFile) and not is_right and not _is_of_others(file, now, wrong):
        yield f"unproved bytes at a final path: {file.path}: {_told(now, right)}"
    if file.local == "wrong" and not is_right and wrong not in beside and right not in beside:
        yield f"the corrupted version is lost, and nothing better is there: {file.path}"
    is_healed = file.local == "wrong" and is_right
    if is_healed and isinstance(was, CrashedFile) and now.attributes.mode != was.attributes.mode:
        yield f"healed, and the mode is {now.attributes.mode:o}: {file.path}"


def _is_just_moved(scenario: Scenario, now: object, is_beside: bool) -> bool:
    """Whether another run moves the file away at this moment, which it takes for the one it saw, and puts it back.

    Between its last look and its rename the other one healed. No system call renames a file only if it is this one; so
    a power cut in these microseconds leaves the right file beside its name.
    """
    return bool(scenario.together) and now is None and is_beside


def _is_of_others(file: RestoredFile, now: CrashedFile, wrong: bytes) -> bool:
    if file.local == "wrong":
        return now.data == wrong
    # What another program has just written may be there in part; its inode was the first to be made.
    return file.local in ("just written", "just broken") and now.attributes.mode == 0o644 and now.number < 1100


def _check_reports(scenario: Scenario, crashed: Crashed) -> Iterator[str]:
    for path, entry in crashed.items():
        if not isinstance(entry, CrashedFile) or not _REPORT.fullmatch(path.rpartition("/")[2]):
            continue
        text = entry.data.decode(errors="replace")
        is_reserved = not text and not scenario.has_links and not scenario.has_free_rename  # before it is renamed to
        if not re.search(r"\nStatus: [A-Z ]+\n$", text) and not is_reserved:
            yield f"a report that is not complete: {path}: {text[-60:]!r}"
        for file in scenario.files:
            now = crashed.get(BEFORE + file.path)
            is_right = isinstance(now, CrashedFile) and now.data == scenario.right(file.path)
            beside = [each.data for each in crashed.values() if isinstance(each, CrashedFile)]
            if is_right or _is_just_moved(scenario, now, scenario.right(file.path) in beside):
                continue
            if f"\n{file.path}: OK" in text:
                yield f"a report says OK, and the storage has {_told(now, scenario.right(file.path))}: {file.path}"


def check_strangers(scenario: Scenario, first: Crashed, crashed: Crashed) -> Iterator[str]:
    """Nothing of others is gone or changed."""
    for path in strangers(scenario):
        if crashed.get(path) != first[path]:
            yield f"a file of others was lost or changed: {path}: {crashed.get(path)}"


def _check_names(scenario: Scenario, crashed: Crashed) -> Iterator[str]:
    known = {BEFORE + file.path for file in scenario.files} | set(strangers(scenario))
    for path, entry in crashed.items():
        name = path.rpartition("/")[2]
        if not isinstance(entry, CrashedFile) or path in known or path.startswith(LOST_AND_FOUND):
            continue
        if not (_TEMPORARY.fullmatch(name) or _REPORT.fullmatch(name) or _is_aside(path, known)):
            yield f"a strange file: {path}"


def _is_aside(path: str, known: set[str]) -> bool:
    match = _OWN_ASIDE.fullmatch(path)
    return bool(match and match["name"] in known)


def check_end(
    scenario: Scenario, first: Crashed, summary: RestoreSummary | None, error: str, disk: Disk
) -> Iterator[str]:
    """What the next run must achieve."""
    if summary is None:
        yield f"the next run raised {error}"
    elif summary.failed:
        yield f"the next run failed: {[o.reason for o in summary.outcomes if not o.ok]}"
    now = live(disk)
    known = set(strangers(scenario)) | {BEFORE + file.path for file in scenario.files}
    for file in scenario.files:
        entry = now.get(BEFORE + file.path)
        if not isinstance(entry, CrashedFile) or entry.data != scenario.right(file.path):
            yield f"not right after the next run: {file.path}: {_told(entry, scenario.right(file.path))}"
    for path, entry in now.items():
        name = path.rpartition("/")[2]
        if not isinstance(entry, CrashedFile) or path.startswith(LOST_AND_FOUND):
            continue
        if _TEMPORARY.fullmatch(name):
            yield f"left by the next run: {path}"
        is_put_back = scenario.together and entry.data in {scenario.right(file.path) for file in scenario.files}
        if ASIDE in name and path not in known and not is_put_back:  # see _is_just_moved
            yield f"an aside of ours is left by the next run: {path} ({len(entry.data)} bytes)"
    yield from check_strangers(scenario, first, now)


def live(disk: Disk) -> Crashed:
    """What a live process reads."""
    found: Crashed = {}

    def walk(folder: FolderNode, above: str) -> None:
        for name, node in folder.cache.items():
            if isinstance(node, FolderNode):
                walk(node, f"{above}{name}/")
            else:
                found[above + name] = CrashedFile(node.number, bytes(node.cache), node.attributes)

    walk(disk.root, "")
    return found


def _told(entry: object, right: bytes) -> str:
    if not isinstance(entry, CrashedFile):
        return "nothing"
    if entry.data == right:
        return "the right bytes"
    wrong = sum(a != b for a, b in zip(entry.data, right, strict=False))
    zeros = entry.data.count(0)
    return f"{len(entry.data)} of {len(right)} bytes, {wrong} of them wrong, {zeros} zero"
