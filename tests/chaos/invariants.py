"""What must hold after every run, whatever happened. Uses nothing of the product.

Each check yields violations, one line each; no line means that all is well.
"""

# ruff: noqa: PTH118, PTH119, PTH120

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.child import ChildResult
from tests.chaos.intruders import Done
from tests.chaos.scenarios import WRONG_STATES, Attempt, ChaosFile, Round
from tests.chaos.world import ASIDE, OTHERS_MODE, RAW_FILE_ID, WRONG_MODE, Entry, Snapshot, World, wrong_bytes
from tests.support.raw_files import md5

MIB = 1 << 20
MEMORY_LIMIT = 48 * MIB  # of buffers, threads and connections; the largest files here are of about that size
REPORT_LIMIT_S = 5.0  # SIGKILL follows SIGTERM after that long
_REPORT = re.compile(r"_download_status_20250115_chaos\.d_\d{8}_\d{6}(_\d+)?\.txt")
_TEMPORARY = re.compile(r"\.s3dl\.([0-9a-f]{12})\.([0-9a-f-]+)\.(part|journal|aside|report)")
_OK = re.compile(
    r"OK - (Skipped \(already exists\)|Downloaded and verified \(\d+\.\d MB in \d+\.\ds\)|"
    r"Self-healed \(hash mismatch detected, re-downloaded\) \((\d+\.\d of )?\d+\.\d MB in \d+\.\ds\))"
    r"( \(older version of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\))?"
)


@dataclass(frozen=True)
class Ended:
    """One attempt that is over. ``result`` is None when it was killed."""

    attempt: Attempt
    exit_code: int | None
    result: ChildResult | None
    seconds_after_signal: float | None = None
    others: tuple[Done, ...] = ()


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
    others = [done for each in ended for done in each.others]
    world.note_others(others)
    yield from _check_final_paths(world, before, after, ended, reports)
    yield from _check_reports(world, after, played, ended, reports)
    yield from _check_nothing_lost(world, after)
    yield from _check_surroundings(world, before, after)
    yield from _check_others(world, after, others)
    for each in ended:
        yield from _check_process(each)
    if len(ended) == 1 and ended[0].attempt.is_undisturbed:
        yield from _check_tidy(world, before, after, reports)
    for request in world.server.writes:
        yield f"a request that writes: {request.method} {request.key}"


def check_end(world: World, after: Snapshot, ended: Ended) -> Iterator[str]:
    """What the last run, without faults, must have achieved."""
    for file in world.scenario.files:
        entry = after.get(world.final(file.path)) if _is_plain(file.path) else None
        if file.restorable and (entry is None or entry.content != world.right[file.path]):
            yield f"not restored by a run without faults: {file.path!r}"
        if file.restorable and entry and entry.links != 1:
            yield f"{entry.links} links to {file.path!r} after a run without faults"
    expected = "returned" if all(file.restorable for file in world.scenario.files) else "failed"
    if ended.result is None or ended.result.end != expected:
        yield f"the run without faults should have {expected}: {ended.result}"
    refused = {_digest(file) for file in world.scenario.files if not file.restorable}
    names = {world.final(file.path) for file in world.scenario.files if _is_plain(file.path)}
    for name in after:
        base = os.path.basename(name)
        match = _TEMPORARY.fullmatch(base)
        if match and match[1] not in refused:
            yield f"a temporary file outlived the run without faults: {name!r}"
        is_aside = re.fullmatch(rf".*{re.escape(ASIDE)}(_\d+)?", base, re.DOTALL) and name not in names
        if is_aside and name not in world.others and base != "other.corrupted":
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


def _check_final_paths(  # noqa: C901 (a list of checks)
    world: World, before: Snapshot, after: Snapshot, ended: Sequence[Ended], reports: Sequence[Report]
) -> Iterator[str]:
    touched, left = _by_others(done for each in ended for done in each.others)
    # A run that is ended just after it gave the name, or that may not remove the other one, leaves that to the next.
    may_have_two = any(
        each.result is None
        or each.result.end == "ended from outside"
        or any(fault.operation == "unlink" for fault in each.attempt.disk)
        for each in ended
    )
    may_not_sync = any(fault.operation in ("open", "fsync") for each in ended for fault in each.attempt.disk)
    laid_out = any(
        each.result is None and each.attempt.death and each.attempt.death.how == "power cut" for each in ended
    )
    for file in world.scenario.files:
        if not _is_plain(file.path):
            continue
        name = world.final(file.path)
        was, now = before.get(name), after.get(name)
        if was and now and laid_out and was.content == now.content:
            continue  # with another inode, as the power cut undid a rename
        right = world.right[file.path]
        if not file.restorable:
            if (was and was.state) != (now and now.state):
                yield f"touched though it cannot be restored: {file.path!r}: {was} -> {now}"
            continue
        is_touched = file.path in touched
        if was and was.content == right and (now is None or now.state != was.state) and not is_touched:
            yield f"right before, but touched: {file.path!r}: {was} -> {now}"
        is_theirs = now is not None and now.content in left.get(file.path, ())
        if now and now.content != right and (was is None or now.state != was.state) and not is_theirs:
            again = world.read_again(file.path)
            yield f"the final path holds bytes that do not match: {file.path!r}: {was} -> {now}; read again: {again}"
        if now and now.content == right and (was is None or was.inode != now.inode) and not is_touched:
            healed = was and was.mode == WRONG_MODE and len(ended) == 1 and _says(reports, file.path, "Self-healed")
            modes = [WRONG_MODE] if healed else [WRONG_MODE, 0o666 & ~world.scenario.umask]
            if file.path in world.given_up:
                modes.append(OTHERS_MODE)
            if now.mode not in modes:
                yield f"mode {now.mode:o} of {file.path!r}"
            # A name that could not be brought to the storage is a failure; the other one stays until the next run.
            is_untold = len(reports) < len(ended)  # its report could not be written either
            failed = may_not_sync and (is_untold or _says(reports, file.path, "FAILURE"))
            if now.links != 1 and not may_have_two and not failed:
                yield f"{now.links} links to {file.path!r}"


def _by_others(others: Iterable[Done]) -> tuple[set[str], dict[str, set[str]]]:
    """Which paths other programs did something to, and all that they left at each, also where one was moved to another.

    All of it, as the last thing may be only announced: the process was killed before it.
    """
    touched: set[str] = set()
    left: dict[str, set[str]] = {}
    for done in others:
        touched |= {done.path, done.moved_to or done.path}
        left.setdefault(done.moved_to or done.path, set()).add(done.content)
    return touched, left


def _says(reports: Sequence[Report], path: str, words: str) -> bool:
    return any(words in report.lines.get(path, "") for report in reports)


def _check_reports(  # noqa: C901 (a list of checks)
    world: World, after: Snapshot, played: Round, ended: Sequence[Ended], reports: Sequence[Report]
) -> Iterator[str]:
    too_late = {done.path for each in ended for done in each.others if done.after_the_looks}
    for report in reports:
        for file in world.scenario.files:
            line = report.lines.get(file.path, "")
            if not line.startswith("OK"):
                continue
            entry = after.get(world.final(file.path))
            if file.path in too_late:
                continue
            if entry is None or entry.content != world.right[file.path]:
                yield f"a false OK: {file.path!r}: {line!r}, but there is {entry}"
            if not file.restorable:
                yield f"a false OK of what cannot be verified: {file.path!r}: {line!r}"
    told = [each for each in ended if each.result]
    must = [each for each in told if not each.attempt.disk]
    if len(reports) < len(must):
        yield f"{len(must)} attempts could write a report, there are {len(reports)}"
    if len(reports) > len(played.attempts):
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
        if not file.restorable or file.local not in WRONG_STATES or file.path in world.given_up:
            continue
        wrong = wrong_bytes(world.data[file.path], file.local)
        here = contents.get(os.path.dirname(world.final(file.path)), set())
        healed = world.right[file.path] in here  # under whatever name: a person may have moved it away since
        if wrong and not healed and md5(wrong) not in here:
            yield f"lost: the corrupted version of {file.path!r}"


def _check_others(world: World, after: Snapshot, others: Sequence[Done]) -> Iterator[str]:
    """What other programs left is there: beside the files, and at final paths until it is healed."""
    finals = {world.final(file.path) for file in world.scenario.files if _is_plain(file.path)}
    for name, content in world.others.items():
        entry = after.get(name)
        if name not in finals and (entry is None or entry.content != content):
            yield f"a file of others was lost or changed: {name!r}: {entry}"
    for done in {done.path: done for done in others if done.content and not done.moved_to}.values():
        folder = os.path.dirname(world.final(done.path))
        now = after.get(world.final(done.path))
        healed = now is not None and now.content == world.right[done.path]
        last = [each for each in others if each.path == done.path][-1] is done
        if (
            last
            and done.is_sure
            and not healed
            and not any(
                entry.content == done.content for name, entry in after.items() if os.path.dirname(name) == folder
            )
        ):
            yield f"lost: what another program wrote to {done.path!r}"


def _check_surroundings(world: World, before: Snapshot, after: Snapshot) -> Iterator[str]:
    inside = os.path.relpath(world.destination, world.root) + os.sep
    ours = {world.final(file.path) for file in world.scenario.files if _is_plain(file.path) and file.restorable}
    digests = {_digest(file) for file in world.scenario.files} | {_digest_of("any report")}
    for name in {*before, *after}:
        was, now = before.get(name), after.get(name)
        if (was and was.state) == (now and now.state) or name in ours or name in world.others:
            continue
        base = os.path.basename(name)
        if not name.startswith(inside):
            yield f"changed outside of the destination: {name!r}: {was} -> {now}"
        elif base in world.scenario.strangers:
            yield f"a stranger's file was touched: {name!r}: {was} -> {now}"
        elif was is not None and now is not None and was.kind == "file" and ASIDE in base:
            # Laid out anew after a power cut, or it only reserved the name for what a killed run was about to move.
            if was.content == now.content or not was.size:
                continue
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
        if not (death and death.how in ("SIGKILL", "power cut") and ended.exit_code in (-9, 255)):
            yield f"attempt {ended.attempt.number} ended with {ended.exit_code} and without a word"
        return
    # Where the project's folder cannot be made, it is not about a file: an ordinary error, so that Airflow tries again.
    no_folder = any(fault.operation == "mkdir" and fault.nth == 1 for fault in ended.attempt.disk)
    if result.end == "harness error" or (result.end == "raised" and not no_folder):
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
    # The model of the disk keeps what is written, and other programs in the process have files in memory.
    disk_is_ours = ended.attempt.intrusions or (death and death.how == "power cut")
    if result.memory_growth > MEMORY_LIMIT and not disk_is_ours:
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
        aside = after.get(name + ASIDE) if name + ASIDE not in {*other_files, *world.others} else None
        gone = name not in after
        if line.startswith("FAILURE") and gone and aside and aside.size and "kept as" not in line:
            yield f"the line does not tell of the file set aside: {file.path!r}: {line!r}"


def _digest(file: ChaosFile) -> str:
    return _digest_of(Path("/" + file.path).name if _is_plain(file.path) else "")


def _digest_of(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:12]


def _is_plain(path: str) -> bool:
    return bool(path) and "\0" not in path and not path.startswith("/") and ".." not in path.split("/")


__all__ = ["Ended", "Report", "check_end", "check_round", "escaped", "read_report"]
