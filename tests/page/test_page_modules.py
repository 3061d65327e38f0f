"""The modules of the page "S3 restores": types, pure functions, and that they read ids as the server does."""

import json
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from impl.raw_file_ids import read_ids
from tests.impl.test_raw_file_ids import draw_id, dressed
from tests.support.npm_packages import npm_package

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = REPOSITORY / "airflow_src/plugins/s3_restores_page_files"
MODULES = sorted(FILES.glob("*.mjs"))
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="no node: Debian's package nodejs")

TSC = ["--noEmit", "--allowJs", "--checkJs", "--strict", "--target", "es2022", "--module", "es2022"]
TSC += ["--moduleResolution", "bundler", "--lib", "es2023,dom,dom.iterable"]


def read_by_page(texts: list[str]) -> list[list[str]]:
    script = (
        f"import {{ readPasted }} from {json.dumps((FILES / 'pasted_ids.mjs').as_uri())};"
        "let given = ''; for await (const part of process.stdin) given += part;"
        "console.log(JSON.stringify(JSON.parse(given).map((text) => readPasted(text).ids.map(({ id }) => id))));"
    )
    command = [str(NODE), "--input-type=module", "--eval", script]
    ran = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@needs_node
def test_types_are_right():
    tsc = npm_package("typescript") / "bin/tsc"
    command = [str(NODE), str(tsc), *TSC, *map(str, MODULES)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stdout


@needs_node
def test_pure_functions_do_what_they_say():
    tests = sorted(map(str, Path(__file__).parent.glob("*.test.mjs")))
    ran = subprocess.run([str(NODE), "--test", *tests], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stdout
    assert int(re.findall(r"^. pass (\d+)$", ran.stdout, re.MULTILINE)[-1]) >= 15


@pytest.mark.rule("U3")
@needs_node
def test_page_shows_the_ids_that_the_server_will_read():
    """U3: from lines, lists between commas, and blanks between ids that end as ids do."""
    texts, expected = [], []
    for seed in range(300):
        rng = random.Random(seed)
        ids = [draw_id(rng) for _ in range(rng.randint(1, 6))]
        # Without the database nobody can tell a comma in an id from one between two.
        ids = [raw_file_id for raw_file_id in dict.fromkeys(ids) if not re.search(r"[,;]|^end$", raw_file_id)]
        ids = [raw_file_id for raw_file_id in ids if not re.search(r"\.\w{1,8} ", raw_file_id)]
        texts.append(rng.choice(["\n", "\r\n", "\n\n"]).join(dressed(rng, raw_file_id) for raw_file_id in ids))
        expected.append([read.raw_file_id for read in read_ids(texts[-1], set(ids))])
        plain = [raw_file_id for raw_file_id in ids if re.fullmatch(r"\S+\.(raw|d|wiff)", raw_file_id)]
        texts.append(rng.choice([" ", ", ", ";", "\t"]).join(plain))
        expected.append([read.raw_file_id for read in read_ids(texts[-1], set(plain))])
    assert sum(map(len, expected)) > 500
    differing = [
        (text, page, server)
        for text, page, server in zip(texts, read_by_page(texts), expected, strict=True)
        if page != server
    ]
    assert differing == []


@needs_node
def test_what_is_no_id_is_read_as_by_the_server():
    texts = [
        "",
        " ",
        ",;",
        '""',
        "\ufeff",
        "a.raw /fs/b.raw unknown",
        "/fs/a.raw,s3://b/c.raw",
        "/",
        "C:\\data\\x.d\\",
        "s3://bucket",
    ]
    texts += ["https://s3.example.org/b/a%20b.raw?X-Amz-Signature=1", "%E0%A4%A.raw", "\ud800.raw", "x" * 300]
    server = [[read.raw_file_id for read in read_ids(text, set())] for text in texts]
    page = read_by_page(texts)
    for text, by_page, by_server in zip(texts, page, server, strict=True):
        assert len(by_page) == len(by_server) or " " in text, text
        if not re.search(r"[/\\]", text):  # the server keeps the way to a file where it knows no such id
            assert by_page == by_server, text


def test_nothing_is_executed_from_data_and_nothing_comes_from_elsewhere():
    """SECURITY.md: text only ever becomes text; all addresses are relative."""
    forbidden = (
        r"(inner|outer|insertAdjacent|set)HTML|document\.write|eval\(|new Function|DOMParser|srcdoc|ContextualFragment"
    )
    for file in FILES.iterdir():
        text = file.read_text()
        assert not re.search(forbidden, text), file.name
        addresses = set(re.findall(r"\w+://[\w.-]+", re.sub(r"^\s*(//|\*|/\*).*$", "", text, flags=re.MULTILINE)))
        assert addresses <= {"http://www.w3.org"}, f"{file.name}: {addresses}"
    page = (FILES / "index.html").read_text()
    assert not re.search(r"<script(?! type=\"module\" src=\"main\.mjs\")| on\w+=|style=", page)


def test_modules_are_small():
    for module in MODULES:
        assert len(module.read_text().splitlines()) <= 400, module.name
