"""The documents say what is so: what they name exists, and what an operator must find in them is there."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import yaml

from demo.story import trigger_line
from impl.run_data import refused_data
from s3_restore.model import reasons
from s3_restore.model.outcomes import RunStatus
from s3_restore.model.reasons import Failure
from s3_restore.model.settings import RestoreSettings
from tests.support.documented_commands import HELD_BY, RUN_BY, Command, commands

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    REPOSITORY / name
    for name in (
        "README.md",
        "CLAUDE.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "design_docs/INSTALL.md",
        "design_docs/OPERATING.md",
        "design_docs/REST.md",
        "design_docs/SIZING.md",
        "design_docs/S3_DOWNLOAD_FEATURE.md",
        "design_docs/S3_BACKUP_DESIGN.md",
        "design_docs/DROP_IN.md",
        "design_docs/SCALING.md",
        "design_docs/STORES.md",
        "design_docs/TESTED_RULES.md",
        "benchmarks/README.md",
    )
]
README = (REPOSITORY / "README.md").read_text()
INSTALL = (REPOSITORY / "design_docs/INSTALL.md").read_text()
OPERATING = (REPOSITORY / "design_docs/OPERATING.md").read_text()
CLAUDE = (REPOSITORY / "CLAUDE.md").read_text()
SOURCE = REPOSITORY / "airflow_src"

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


@dataclass(frozen=True)
class Fence:
    """A block of code; `line` is that of its first line in the document."""

    language: str
    text: str
    line: int


def fences(document: str) -> list[Fence]:
    return [
        Fence(match["language"], match["text"], document[: match.start("text")].count("\n") + 1)
        for match in re.finditer(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", document, re.MULTILINE | re.DOTALL)
    ]


def prose(document: str) -> str:
    return re.sub(r"^```.*?^```$", "", document, flags=re.MULTILINE | re.DOTALL)


def inline_code(document: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(document))


def section(document: str, heading: str) -> str:
    """Text below a heading, up to the next one of its level or above."""
    match = re.search(rf"^(#+) {re.escape(heading)}$\n(.*)", document, re.MULTILINE | re.DOTALL)
    assert match, f"no section {heading!r}"
    return re.split(rf"^#{{1,{len(match[1])}}} ", match[2], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """Cells of all table rows, without heads and rulers."""
    lines = [line.strip() for line in text.splitlines()]
    found = []
    for above, line in zip(["", *lines], lines, strict=False):
        if line.startswith("|") and not re.fullmatch(r"[| :-]+", line):
            found.append([cell.strip() for cell in line.strip("|").split(" | ")])
        elif re.fullmatch(r"\|[| :-]+", line) and above.startswith("|"):
            found.pop()
    return found


@pytest.mark.rule("N5")
def test_readme_is_for_the_first_ten_minutes() -> None:
    """N5; what it does not say, one of its three doors leads to."""
    assert README.count("\n") <= 200
    linked = {target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", README)}
    for document in DOCUMENTS:
        name = str(document.relative_to(REPOSITORY))
        assert name in linked | {"README.md", "design_docs/TESTED_RULES.md"}, f"README leads nobody to {name}"


# --- what documents point to ---------------------------------------------------------------------------------


def anchors(document: Path) -> set[str]:
    """Anchors of the headings as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"\n(?=\S)", " ", prose(document.read_text()))
    for target in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'<img src="([^"]+)"', text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists() or target == "results.svg", f"{target} does not exist"
        assert not anchor or anchor in anchors(file), f"{target}: there is no such heading"


@every_document
def test_paths_of_the_repository_exist(document: Path) -> None:
    text = document.read_text()
    shell = " ".join(fence.text for fence in fences(text) if fence.language == "bash").split()
    top = {path.name for path in REPOSITORY.iterdir()} - {".demo", ".venv", ".env"}
    paths = {word for word in [*inline_code(text), *shell] if "/" in word and word.split("/")[0] in top}
    paths |= {word for word in inline_code(text) if re.fullmatch(r"\w+(\.\w+)*\.(md|toml|txt|yaml|lock)", word)} & top
    missing = [path for path in sorted(paths) if not (REPOSITORY / path).exists()]
    assert missing == []


@every_document
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    text = document.read_text()
    commands = [code for code in inline_code(text) if re.match(r"(\w+=\S+ )*make\b", code)]
    commands += [
        line for fence in fences(text) for line in fence.text.splitlines() if re.match(r"(\w+=\S+ )*make ", line)
    ]
    for command in commands:
        words = re.split("[#>]", command)[0].split()
        named = [word for word in words[words.index("make") + 1 :] if "=" not in word]
        assert set(named) <= targets, f"{command!r}: no such target"


def test_every_make_target_is_in_the_command_table() -> None:
    explained = set(re.findall(r"^([a-z0-9-]+):.*##", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    told = set(re.findall(r"`(?:\w+=\S+ )*make ([a-z0-9-]+)`", section(CLAUDE, "Commands")))
    assert explained - {"help"} - {target for target in explained if target.startswith("bench-")} == told


# --- blocks of code ------------------------------------------------------------------------------------------


@every_document
def test_blocks_of_code_parse(document: Path) -> None:
    for fence in fences(document.read_text()):
        where = f"{document.name}:{fence.line}"
        if fence.language == "json":
            # An ellipsis inside a text is no error of JSON.
            json.loads(fence.text)
        elif fence.language == "yaml":
            assert isinstance(yaml.safe_load(fence.text), dict), where
        elif fence.language == "python":
            ast.parse(fence.text, where)
        elif fence.language == "bash":
            checked = subprocess.run(["bash", "-n"], input=fence.text, capture_output=True, text=True, check=False)
            assert checked.returncode == 0, f"{where}: {checked.stderr}"
        else:
            assert fence.language in {"", "text"}, f"{where}: a language that nobody checks"


def test_trigger_command_is_that_of_the_demo() -> None:
    """The demo runs it, so that it is known to work."""
    line = trigger_line(Path("airflow"), "20250115_sample.raw")
    assert line in OPERATING
    assert line in CLAUDE


def test_pool_command_is_that_of_the_containers() -> None:
    script = (SOURCE / "docker/airflow-init.sh").read_text()
    pool, slots = re.findall(r"^POOL(?:_SLOTS)?=(\S+)$", script, re.MULTILINE)
    description = re.search(r'airflow pools set .*(".*")', script)
    assert description
    command = f"airflow pools set {pool} {slots} {description[1]}"
    for document in (INSTALL, CLAUDE):
        assert any(command == line for fence in fences(document) for line in fence.text.splitlines())


@pytest.mark.rule("R1", "R2")
def test_reports_in_the_documents_have_the_format() -> None:
    """R1: Files, then Summary; R2: the messages."""
    reports = [
        fence.text for text in (README, CLAUDE) for fence in fences(text) if fence.text.startswith("S3 Download")
    ]
    assert len(reports) == 2
    for report in reports:
        head, files, summary = re.split(r"^(?:Files:\n-{6}|Summary:\n-{8})\n", report, flags=re.MULTILINE)
        assert [line.partition(":")[0] for line in head.split("\n")][:2] == ["S3 Download Status Report", "=" * 25]
        names = re.findall(r"^([A-Z][\w ]+): ", head, re.MULTILINE)
        assert names == ["Raw File ID", "Project ID", "S3 Bucket", "Timestamp", "Destination"]
        size = r"\(\d+\.\d MB in \d+\.\ds\)"
        ok = rf"Downloaded and verified {size}|Skipped \(already exists\)"
        ok += rf"|Self-healed \(hash mismatch detected, re-downloaded\) {size}"
        for line in filter(None, files.split("\n")):
            assert re.fullmatch(rf"\S+: (OK - ({ok})|FAILURE - .+)", line), line
        counts = dict(line.split(": ") for line in filter(None, summary.split("\n")))
        assert (
            int(counts["Total files"])
            == int(counts["Successful"]) + int(counts["Failed"])
            == files.strip().count("\n") + 1
        )
        assert list(counts) == ["Total files", "Successful", "Failed", "Status"]
    for status in RunStatus:
        assert f"`Status: {status}`" in OPERATING


# --- module map ----------------------------------------------------------------------------------------------


def test_module_map_lists_exactly_the_modules() -> None:
    listed, folder = set(), ""
    for line in fences(section(CLAUDE, "Module map"))[0].text.splitlines():
        if line.startswith(" "):
            name, meaning = line.split(maxsplit=1)
            assert meaning
            listed.add(folder + name)
        else:
            folder = line
    there = {str(path.relative_to(REPOSITORY)) for path in SOURCE.rglob("*.py") if path.name != "__init__.py"}
    assert listed - there == set(), "listed and gone"
    assert there - listed == set(), "add it to the module map of CLAUDE.md"


# --- settings ------------------------------------------------------------------------------------------------


def test_rest_names_the_keys_that_a_refusal_has() -> None:
    text = (REPOSITORY / "design_docs/REST.md").read_text()
    refused = json.loads(re.findall(r'`(\{"status": "REFUSED".*?\})`', text)[0])
    assert set(refused) == set(refused_data(Failure(reasons.UNEXPECTED, "x")))
    assert "reason_code" not in text


def test_settings_table_has_every_setting_with_its_default() -> None:
    table = {
        row[0].strip("`"): row[1]
        for row in rows(section(INSTALL, "The settings file"))
        if re.fullmatch(r"`\w+`", row[0])
    }
    assert list(table) == [field.name for field in fields(RestoreSettings)]
    defaults = RestoreSettings()
    for name, shown in table.items():
        if name == "max_concurrency":  # depends on the machine
            assert shown == "2 for each core, from 12 to 16"
        else:
            value = getattr(defaults, name)
            if value is None:
                assert shown == "that of the process", name
                continue
            if isinstance(value, bool):
                assert shown == str(value).lower(), name
            else:
                assert shown == (f"{value:g}" if isinstance(value, (int, float)) else f"`{value}`"), name


def test_other_tables_of_settings_name_what_the_code_reads() -> None:
    modules = ("shared/yamlsettings.py", "shared/db/engine.py", "common/notifications.py")
    code = "".join((SOURCE / "plugins" / name).read_text() for name in modules)
    names = [row[0].strip("`") for row in rows(section(INSTALL, "The settings file")) if "." in row[0]]
    names += [row[0].strip("`") for row in rows(INSTALL) if re.fullmatch(r"`MONGO_\w+`", row[0])]
    assert len(names) >= 9
    for name in names:
        if name == "locations.output.absolute_path":
            assert 'f"locations.{location}.absolute_path"' in code
        elif name != "backup.s3.bucket_prefix":  # the host's, and said to be unused
            assert f'"{name}"' in code, name


# --- commands ------------------------------------------------------------------------------------------------


def held(command: Command) -> list[str]:
    return [beginning for beginning in {**RUN_BY, **HELD_BY} if command.beginning.startswith(beginning)]


@pytest.mark.parametrize("command", list(commands()), ids=lambda command: command.where)
def test_every_command_is_run_by_a_test(command: Command) -> None:
    """When this is red: run the command in a test and name it in `tests/support/documented_commands.py`."""
    assert len(held(command)) == 1, command.text


def test_tests_that_run_commands_exist_and_run_them() -> None:
    used = {beginning for command in commands() for beginning in held(command)}
    for beginning, test in {**RUN_BY, **HELD_BY}.items():
        assert beginning in used, f"{beginning!r}: no document has it"
        file, _, name = test.partition("::")
        source = (REPOSITORY / file).read_text()
        assert f"\ndef {name}(" in source, test
        assert beginning in HELD_BY or beginning in source, f"{test} does not run {beginning!r}"


@pytest.mark.parametrize("beginning", sorted(RUN_BY))
def test_a_command_that_stands_twice_is_the_same(beginning: str) -> None:
    """Only one of them is run. A block may leave lines out."""
    first, *others = sorted(
        (command.meaning.splitlines() for command in commands() if command.beginning.startswith(beginning)),
        key=len,
        reverse=True,
    )
    for line in (line for other in others for line in other):
        assert any(known.startswith(line) for known in first), line
