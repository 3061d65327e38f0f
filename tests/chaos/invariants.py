"""What must hold after every run, whatever happened. Uses nothing of the product.

Each check yields violations, one line each; no line means that all is well.
"""

# ruff: noqa: PTH118, PTH119, PTH120

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.child import ChildResult
from tests.chaos.scenarios import BLOCKED_STATES, WRONG_STATES, Attempt, ChaosFile, Round
from tests.chaos.world import ASIDE, RAW_FILE_ID, Entry, Snapshot, World, wrong_bytes
from tests.support.raw_files import md5

MIB = 1 << 20
MEMORY_LIMIT = 48 * MIB  # of buffers, threads and connections; the largest files here are of about that size
REPORT_LIMIT_S = 5.0  # SIGKILL follows SIGTERM after that long
_REPORT = re.compile(r"_download_status_20250115_chaos\.d_\d{8}_\d{6}(_\d+)?\.txt")
_TEMPORARY = re.compile(r"\.s3dl\.([0-9a-f]{12})\.([0-9a-f-]+)\.(part|journal)")
_OK = re.compile(
    r"OK - (Skipped \(already exists\)|Downloaded and verified \(\d+\.\d MB in \d+\.\ds\)|"
    r"Self-healed \(hash mismatch detected, re-downloaded\) \((\d+\.\d of )?\d+\.\d MB in \d+\.\ds\))"
)


@dataclass(frozen=True)
class Ended:
    """One attempt that is over. ``result`` is None when it was killed."""

    attempt: Attempt
    exit_code: int | None
    result: ChildResult | None
    seconds_after_signal: float | None = None


@dataclass(frozen=True)
class Report:
    """One report, read back."""

    name: str
    lines: dict[str, str]
    entry: Entry


def check_round(
    world: World, before: Snapshot, after: Snapshot, played: Round, ended: Sequence[Ended]
) -> Iterator[str]:
    """Everything that holds after any round."""
    reports = []
    for name in sorted(set(after) - set(before)):
        if _REPORT.fullmatch(os.path.basename(name)):
            report, problems = read_report(world, name, after[name])
            yield from problems
            reports.append(report)
    yield from _check_final_paths(world, before, after)
    yield from _check_reports(world, after, played, ended, reports)
    yield from _check_nothing_lost(world, after)
    yield from _check_surroundings(world, before, after)
    for each in ended:
        yield from _check_process(each)
    if len(ended) == 1 and ended[0].attempt.is_undisturbed:
        yield from _check_tidy(world, before, after, reports)
    for request in world.server.writes:
        yield f"a request that writes: {request.method} {request.key}"


def check_end(world: World, after: Snapshot, ended: Ended, *, disturbed: bool) -> Iterator[str]:
    """What the last run, without faults, must have achieved."""
    for file in world.scenario.files:
        entry = after.get(world.final(file.path)) if _is_plain(file.path) else None
        if file.restorable and (entry is None or entry.content != world.right[file.path]):
            yield f"not restored by a run without faults: {file.path!r}"
    expected = "returned" if all(file.restorable for file in world.scenario.files) else "failed"
    if ended.result is None or ended.result.end != expected:
        yield f"the run without faults should have {expected}: {ended.result}"
    refused = {_digest(file) for file in world.scenario.files if not file.restorable}
    asides_before = {world.final(file.path) + ASIDE for file in world.scenario.files if file.aside}
    names = {world.final(file.path) for file in world.scenario.files if _is_plain(file.path)}
    for name in after:
        base = os.path.basename(name)
        match = _TEMPORARY.fullmatch(base)
        if match and match[1] not in refused:
            yield f"a temporary file outlived the run without faults: {name!r}"
        is_aside = re.fullmatch(rf".*{re.escape(ASIDE)}(_\d+)?", base, re.DOTALL) and name not in names
        if is_aside and name not in asides_before and base != "other.corrupted" and not disturbed:
            yield f"a file set aside outlived its healing: {name!r}"


def read_report(world: World, name: str, entry: Entry) -> tuple[Report, list[str]]:
    """Parse a report by its format alone; problems are what cannot be so."""
    problems = []
    text = (world.root / name).read_text(encoding="utf-8")
    paths = sorted(file.path for file in world.scenario.files)
    head, _, rest = text.partition("\nFiles:\n------\n")
    body, _, tail = rest.partition("\n\nSummary:\n--------\n")
    rows = body.split("\n")
    lines: dict[str, str] = {}
    if len(rows) != len(paths):
        problems.append(f"{name}: {len(rows)} lines for {len(paths)} files")
    for path, row in zip(paths, rows, strict=False):
        if not row.startswith(f"{escaped(path)}: "):
            problems.append(f"{name}: expected the line of {path!r}, got {row!r}")
        lines[path] = row.removeprefix(f"{escaped(path)}: ")
        if not (_OK.fullmatch(lines[path]) or re.fullmatch(r"FAILURE - .+", lines[path])):
            problems.append(f"{name}: neither OK nor FAILURE: {row!r}")
    failed = sum(line.startswith("FAILURE") for line in lines.values())
    good = len(paths) - failed
    status = "SUCCESS" if not failed else "PARTIAL FAILURE" if good else "COMPLETE FAILURE"
    if tail != f"Total files: {len(paths)}\nSuccessful: {good}\nFailed: {failed}\nStatus: {status}\n":
        problems.append(f"{name}: wrong summary {tail!r}")
    if not head.startswith(f"S3 Download Status Report\n=========================\nRaw File ID: {RAW_FILE_ID}\n"):
        problems.append(f"{name}: wrong head {head!r}")
    if entry.mode != 0o666 & ~world.scenario.umask:
        problems.append(f"{name}: mode {entry.mode:o}")
    return Report(name, lines, entry), problems


def escaped(path: str) -> str:
    """How a path must read in one line that nobody can forge: the first colon with a space after it ends it."""
    printable = "".join(
        character
        if character.isprintable() and character != "\\"
        else character.encode("unicode_escape").decode("ascii")
        for character in path
    )
    return printable.replace(": ", r"\x3a ")


def _check_final_paths(world: World, before: Snapshot, after: Snapshot) -> Iterator[str]:
    for file in world.scenario.files:
        if not _is_plain(file.path):
            continue
        name = world.final(file.path)
        was, now = before.get(name), after.get(name)
        right = world.right[file.path]
        if not file.restorable:
            if (was and was.state) != (now and now.state):
                yield f"touched though it cannot be restored: {file.path!r}: {was} -> {now}"
            continue
        if was and was.content == right and (now is None or now.state != was.state):
            yield f"right before, but touched: {file.path!r}: {was} -> {now}"
        if now and now.content != right and (was is None or now.state != was.state):
            yield f"the final path holds bytes that do not match: {file.path!r}: {was} -> {now}"
        if now and now.content == right and (was is None or was.inode != now.inode):
            if now.mode != 0o666 & ~world.scenario.umask:
                yield f"mode {now.mode:o} of {file.path!r}"
            if now.links != 1:
                yield f"{now.links} links to {file.path!r}"


def _check_reports(
    world: World, after: Snapshot, played: Round, ended: Sequence[Ended], reports: Sequence[Report]
) -> Iterator[str]:
    for report in reports:
        for file in world.scenario.files:
            line = report.lines.get(file.path, "")
            if not line.startswith("OK"):
                continue
            entry = after.get(world.final(file.path))
            if entry is None or entry.content != world.right[file.path]:
                yield f"a false OK: {file.path!r}: {line!r}, but there is {entry}"
            if not file.restorable:
                yield f"a false OK of what cannot be verified: {file.path!r}: {line!r}"
    told = [each for each in ended if each.result]
    must = [each for each in told if not each.attempt.disk]
    if len(reports) < len(must):
        yield f"{len(must)} attempts could write a report, there are {len(reports)}"
    # One that is ended just after its report was written writes it again.
    if len(reports) > len(played.attempts) + sum(each.result.end == "ended from outside" for each in told):
        yield f"{len(reports)} reports of {len(played.attempts)} attempts"
    if len(ended) == 1 and told and reports:
        result, lines = told[0].result, reports[0].lines.values()
        all_ok = all(line.startswith("OK") for line in lines)
        if result and result.end in ("returned", "failed") and (result.end == "returned") != all_ok:
            yield f"the task {result.end}, its report says otherwise: {list(lines)}"


def _check_nothing_lost(world: World, after: Snapshot) -> Iterator[str]:
    """What was wrong and is not healed may be the only copy left."""
    contents: dict[str, set[str]] = {}
    for name, entry in after.items():
        contents.setdefault(os.path.dirname(name), set()).add(entry.content)
    for file in world.scenario.files:
        if not file.restorable or file.local not in WRONG_STATES:
            continue
        wrong = wrong_bytes(world.data[file.path], file.local)
        name = world.final(file.path)
        now = after.get(name)
        healed = now is not None and now.content == world.right[file.path]
        if wrong and not healed and md5(wrong) not in contents.get(os.path.dirname(name), set()):
            yield f"lost: the corrupted version of {file.path!r}"


def _check_surroundings(world: World, before: Snapshot, after: Snapshot) -> Iterator[str]:
    inside = os.path.relpath(world.destination, world.root) + os.sep
    ours = {world.final(file.path) for file in world.scenario.files if _is_plain(file.path) and file.restorable}
    digests = {_digest(file) for file in world.scenario.files} | {hashlib.sha256(b"report").hexdigest()[:12]}
    for name in {*before, *after}:
        was, now = before.get(name), after.get(name)
        if (was and was.state) == (now and now.state) or name in ours:
            continue
        base = os.path.basename(name)
        if not name.startswith(inside):
            yield f"changed outside of the destination: {name!r}: {was} -> {now}"
        elif base in world.scenario.strangers:
            yield f"a stranger's file was touched: {name!r}: {was} -> {now}"
        elif was is not None and now is not None and was.kind == "file" and ASIDE in base:
            yield f"a file set aside was changed: {name!r}: {was} -> {now}"
        elif now is not None and now.kind == "folder":
            if not any(final.startswith(name + os.sep) for final in ours):
                yield f"a strange folder: {name!r}"
        elif now is not None and not _is_known(name, ours, digests):
            yield f"a strange file: {name!r}: {now}"


def _is_known(name: str, ours: set[str], digests: set[str]) -> bool:
    base = os.path.basename(name)
    match = _TEMPORARY.fullmatch(base)
    if match:
        return match[1] in digests
    if _REPORT.fullmatch(base):
        return True
    folder = os.path.dirname(name)
    aside = re.fullmatch(rf"(.*){re.escape(ASIDE)}(_\d+)?", base, re.DOTALL)
    if aside is None:
        return False
    start, _, digest = aside[1].rpartition("~")  # of a name that would be too long with the suffix
    return os.path.join(folder, aside[1]) in ours or any(
        final.startswith(os.path.join(folder, start)) and _digest_of(os.path.basename(final)) == digest
        for final in ours
        if start
    )


def _check_process(ended: Ended) -> Iterator[str]:  # noqa: C901 (a list of checks)
    result, death = ended.result, ended.attempt.death
    if ended.exit_code is None:
        yield f"a hang: attempt {ended.attempt.number} did not end"
        return
    if result is None:
        # 255: the server that children are forked from did not see how it ended.
        if not (death and death.how == "SIGKILL" and ended.exit_code in (-9, 255)):
            yield f"attempt {ended.attempt.number} ended with {ended.exit_code} and without a word"
        return
    if result.end in ("harness error", "raised"):
        yield f"attempt {ended.attempt.number}: {result.end}: {result.text}"
    if result.end == "ended from outside" and result.text.find("Report: ") < 0:
        yield f"attempt {ended.attempt.number} ended from outside without a report: {result.text}"
    if ended.seconds_after_signal is not None and ended.seconds_after_signal > REPORT_LIMIT_S:
        yield f"attempt {ended.attempt.number} needed {ended.seconds_after_signal:.1f} s to end after {death}"
    if result.end != "ended from outside":
        if result.descriptors[1] > result.descriptors[0]:
            yield f"open files grew from {result.descriptors[0]} to {result.descriptors[1]}: {result.opened}"
        if result.threads[1] > result.threads[0]:
            yield f"threads grew from {result.threads[0]} to {result.threads[1]}: {result.running}"
    if result.memory_growth > MEMORY_LIMIT:
        yield f"memory grew by {result.memory_growth / MIB:.0f} MiB"


def _check_tidy(world: World, before: Snapshot, after: Snapshot, reports: Sequence[Report]) -> Iterator[str]:
    """After a run that nothing but the network disturbed: only what the next run can go on with is left."""
    lines = reports[0].lines if reports else {}
    for file in world.scenario.files:
        if not _is_plain(file.path) or not file.restorable:
            continue
        name = world.final(file.path)
        line = lines.get(file.path, "")
        folder = os.path.dirname(name)
        for other in after:
            match = _TEMPORARY.fullmatch(os.path.basename(other))
            if os.path.dirname(other) != folder or not match or match[1] != _digest(file):
                continue
            if other in before and after[other].state == before[other].state:
                continue  # of an owner that may be alive on another host
            if line.startswith("OK"):
                yield f"a temporary file beside a file that is right: {other!r}"
            elif match[3] == "part" and other.removesuffix("part") + "journal" not in after:
                yield f"a temporary file that nobody can resume: {other!r}"
        other_files = {world.final(other.path) for other in world.scenario.files if _is_plain(other.path)}
        aside = after.get(name + ASIDE) if name + ASIDE not in other_files else None
        gone = name not in after
        if line.startswith("FAILURE") and gone and aside and aside.size and "kept as" not in line:
            yield f"the line does not tell of the file set aside: {file.path!r}: {line!r}"


def _digest(file: ChaosFile) -> str:
    return _digest_of(Path("/" + file.path).name if _is_plain(file.path) else "")


def _digest_of(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:12]


def _is_plain(path: str) -> bool:
    return bool(path) and "\0" not in path and not path.startswith("/") and ".." not in path.split("/")


__all__ = ["BLOCKED_STATES", "Ended", "Report", "check_end", "check_round", "escaped", "read_report"]
