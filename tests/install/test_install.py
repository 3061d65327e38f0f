"""`make install` in folders of all kinds: what it writes, what it refuses, what it leaves behind."""

import fcntl
import json
import os
import resource
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import packaging
import pytest

from airflow_src.install.folder import LIST, Folder
from airflow_src.install.ignore_file import add_lines
from airflow_src.install.packages import read_floors
from airflow_src.install.sources import Part

REPOSITORY = Path(__file__).resolve().parents[2]


def run(command: str, *arguments: Path | str, path: str = "/nowhere") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "airflow_src.install", command, *map(str, arguments)],
        cwd=REPOSITORY,
        env={"PATH": path, "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def airflow(tmp_path: Path) -> tuple[Path, Path]:
    """DAG and plugin folder of an Airflow that has some of its own."""
    dags, plugins = tmp_path / "dags", tmp_path / "plugins"
    for folder in (dags, plugins):
        folder.mkdir()
        (folder / "mine.py").write_text("mine = 1\n")
        (folder / ".airflowignore").write_text("# mine\nhelpers/\nshared/")  # no new line at its end
    return dags, plugins


def test_files_are_there_and_ignore_lines_stand_by_themselves_and_once(airflow):
    dags, plugins = airflow
    before = contents(dags.parent)

    first = run("install", *airflow)

    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("Installed s3-downloader ")
    assert "To do once" in first.stdout
    assert first.stdout.splitlines()[-1].startswith("Now start scheduler, dag-processor, workers and api-server anew")
    for folder, ours in ((dags, "dags"), (plugins, "plugins")):
        source = contents(REPOSITORY / "airflow_src" / ours)
        wanted = {path for path in source if path.endswith(".py") and not path.startswith("examples/")}
        assert {path: contents(folder).get(path) for path in wanted} == {path: source[path] for path in wanted}
    assert (dags / ".airflowignore").read_text() == "# mine\nhelpers/\nshared/\nimpl/\n"
    lines = (plugins / ".airflowignore").read_text().splitlines()
    assert lines[:3] == ["# mine", "helpers/", "shared/"]
    assert sorted(lines[3:]) == sorted(set(lines[3:]))
    assert {"common/", "s3_restore/"} <= set(lines[3:])
    assert not (dags / "examples").exists()

    installed = contents(dags.parent)
    again = run("install", *airflow)
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("Upgraded s3-downloader ")
    assert "To do once" not in again.stdout
    assert again.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]
    assert contents(dags.parent) == installed

    removed = run("uninstall", *airflow)
    assert removed.returncode == 0, removed.stderr
    assert removed.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]
    now = contents(dags.parent)
    assert {path: text.rstrip(b"\n") for path, text in now.items()} == {
        path: text.rstrip(b"\n") for path, text in before.items()
    }
    assert not (plugins / "s3_restore").exists()
    assert run("uninstall", *airflow).stderr == "Nothing was done: nothing of s3-downloader is listed there\n"


def test_an_ignore_file_of_others_stays_as_it_is_and_its_comments_are_no_lines(airflow):
    theirs = "# f\u00fcr uns; not impl/ and common/\r\nhelpers/\r\n".encode("latin-1")
    for folder in airflow:
        (folder / ".airflowignore").write_bytes(theirs)

    assert run("install", *airflow).returncode == 0
    assert (airflow[0] / ".airflowignore").read_bytes() == theirs + b"impl/\n"
    assert b"\ncommon/\n" in (airflow[1] / ".airflowignore").read_bytes()
    assert run("uninstall", *airflow).returncode == 0
    assert [(folder / ".airflowignore").read_bytes() for folder in airflow] == [theirs, theirs]


def old_pythons() -> list[Path]:
    """A Python 3.9, as RHEL 9 has it."""
    found = [Path(shutil.which("python3.9") or "/nowhere"), *Path.home().glob(".pyenv/versions/3.9.*/bin/python")]
    there = [path for path in found if path.exists()]
    return [
        path for path in there if not subprocess.run([path, "--version"], capture_output=True, check=False).returncode
    ]


def test_the_tool_itself_needs_no_new_python(airflow):
    pythons = old_pythons()
    if not pythons:
        pytest.skip("no Python 3.9 here")
    for command in ("install", "uninstall"):
        ran = subprocess.run(
            [pythons[0], "-B", "-m", "airflow_src.install", command, *airflow],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "theirs", ["dags/s3_downloader.py", "plugins/common/theirs.py", "plugins/shared", "dags/impl/__init__.py"]
)
def test_what_is_not_ours_is_refused_before_anything_is_written(airflow, theirs: str):
    target = airflow[0].parent / theirs
    target.parent.mkdir(exist_ok=True)
    target.write_text("theirs = 1\n")
    before = contents(airflow[0].parent)

    ran = run("install", *airflow)

    assert ran.returncode == 1
    first, second, *_ = ran.stderr.splitlines()
    assert first == "Nothing was done: not everything there is ours:"
    assert str(target.parent if "theirs.py" in theirs or "impl" in theirs else target) in second
    assert contents(airflow[0].parent) == before


def test_a_link_is_not_followed(airflow, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (airflow[0] / "impl").symlink_to(tmp_path / "elsewhere")
    ran = run("install", *airflow)
    assert ran.returncode == 1
    assert f"{airflow[0] / 'impl'} is no folder of ours" in ran.stderr
    assert contents(tmp_path / "elsewhere") == {}


def test_a_file_that_was_changed_since_is_neither_replaced_nor_removed(airflow):
    assert run("install", *airflow).returncode == 0
    changed = airflow[1] / "common/constants.py"
    changed.write_text("by_hand = 1\n")

    ran = run("install", *airflow)
    assert ran.returncode == 1
    assert f"{changed} was changed since it was installed" in ran.stderr
    assert "a file of ours that was changed is put in place anew" in ran.stderr
    by_hand = changed.rename(airflow[1].parent / "constants.py")
    assert run("install", *airflow).returncode == 0
    by_hand.replace(changed)

    removed = run("uninstall", *airflow)
    assert "Kept, since they were changed here:\n  common/constants.py\n" in removed.stdout
    assert changed.read_text() == "by_hand = 1\n"


def test_an_upgrade_removes_modules_that_are_no_more(airflow):
    dags, _ = airflow
    Folder(dags, Part({"impl/old.py": b"old = 1\n", "impl/same.py": b"1\n"})).install("0.1")
    Folder(dags, Part({"impl/new.py": b"new = 1\n", "impl/same.py": b"2\n"})).install("0.2")
    assert sorted(path.name for path in (dags / "impl").iterdir()) == ["new.py", "same.py"]
    assert (dags / "impl/same.py").read_bytes() == b"2\n"


def test_an_installation_that_broke_off_is_completed_or_taken_out(airflow, monkeypatch: pytest.MonkeyPatch):
    dags, _ = airflow
    old = Part({"impl/a.py": b"a = 1\n", "impl/b.py": b"b = 1\n"})
    new = Part({"impl/a.py": b"a = 2\n", "impl/b.py": b"b = 2\n"})
    Folder(dags, old).install("0.1")
    replace = Path.replace

    def dies(path: Path, target: Path) -> Path:
        if target.name == "b.py":
            raise KeyboardInterrupt
        return replace(path, target)

    for then in ("install", "uninstall"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", dies)
            with pytest.raises(KeyboardInterrupt):
                Folder(dags, new).install("0.2")
        assert (dags / "impl/a.py").read_bytes() == b"a = 2\n"
        assert (dags / "impl/b.py").read_bytes() == b"b = 1\n"
        begun = Folder(dags, new)
        assert begun.not_ours() == []
        if then == "install":
            begun.install("0.2")
            assert (dags / "impl/b.py").read_bytes() == b"b = 2\n"
            Folder(dags, old).install("0.1")
        else:
            assert begun.uninstall().kept == []
            assert list(dags.glob("impl/[ab].py")) == []


def test_an_installation_that_was_killed_leaves_nothing_after_its_removal(airflow, monkeypatch: pytest.MonkeyPatch):
    dags, _ = airflow
    before = contents(dags)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _die_at_b)
        with pytest.raises(KeyboardInterrupt):
            Folder(dags, Part({"impl/a.py": b"1", "impl/b.py": b"2"}, ("impl/",))).install("0.1")
    assert [path.name for path in dags.rglob(".*.new")] == [".b.py.new"]
    Folder(dags, Part({"impl/a.py": b"1", "impl/b.py": b"2"}, ("impl/",))).uninstall()
    assert contents(dags) == before
    assert not (dags / "impl").exists()


def _die_at_b(path: Path, target: Path) -> None:
    if target.name == "b.py":
        raise KeyboardInterrupt
    path.rename(target)


def test_a_full_disk_leaves_the_ignore_file_of_others_whole(airflow):
    ignored = airflow[0] / ".airflowignore"
    ignored.write_text("theirs/\n" * 1000)
    ignored.chmod(0o664)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="large"):
            add_lines(ignored, ["impl/"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ignored.read_text() == "theirs/\n" * 1000
    linked = airflow[0] / "linked"
    linked.symlink_to(ignored)
    add_lines(linked, ["impl/"])
    assert linked.is_symlink()
    assert ignored.read_text() == "theirs/\n" * 1000 + "impl/\n"
    assert ignored.stat().st_mode & 0o777 == 0o664


def test_what_cannot_be_written_is_said_in_one_line_and_gone_on_with(airflow):
    (airflow[1] / "common/.constants.py.new").mkdir(parents=True)
    ran = run("install", *airflow)
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"Broke off: Is a directory: {airflow[1].resolve()}/common/.constants.py.new. ")
    assert ran.stderr.count("\n") == 1
    (airflow[1] / "common/.constants.py.new").rmdir()
    assert run("install", *airflow).returncode == 0
    assert run("uninstall", *airflow).returncode == 0
    assert not (airflow[1] / "common").exists()


def test_two_at_once_are_one_after_the_other(airflow):
    folder = os.open(airflow[1], os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    before = contents(airflow[0].parent)
    for command in ("install", "uninstall"):
        ran = run(command, *airflow)
        assert ran.stderr == (f"Nothing was done: another make install or make uninstall is at work in {airflow[1]}\n")
    assert contents(airflow[0].parent) == before
    os.close(folder)
    assert run("install", *airflow).returncode == 0


def test_ignore_lines_go_with_their_folder_and_not_before_it(airflow):
    dags, _ = airflow
    Folder(dags, Part({"old/a.py": b"1\n", "kept/b.py": b"1\n"}, ("old/", "kept/"))).install("0.1")
    (dags / "kept/b.py").write_text("by_hand = 1\n")
    Folder(dags, Part({"new/a.py": b"1\n"}, ("new/",))).install("0.2")
    theirs = "# mine\nhelpers/\nshared/\n"
    assert (dags / ".airflowignore").read_text() == f"{theirs}kept/\nnew/\n"
    (dags / "new/a.py").write_text("by_hand = 1\n")  # Airflow would run it without its line
    assert Folder(dags, Part({})).uninstall().kept == ["new/a.py"]
    assert (dags / ".airflowignore").read_text() == f"{theirs}kept/\nnew/\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "say where"),
        (("/nowhere", ""), "say where"),
        (("/nowhere", "/nowhere"), "/nowhere is no folder"),
        (("/tmp", "/tmp"), "the same folder"),
        (("/tmp", "/tmp", "/tmp"), "DAGS and PLUGINS are one way to say where, DEST the other"),
    ],
)
def test_where_to_is_asked_for_in_one_line(arguments, says: str):
    ran = run("install", *arguments)
    assert ran.returncode == 1
    assert ran.stderr.startswith("Nothing was done: ")
    assert says in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("exported", "typed"),
    [({"DAGS": "/a", "PLUGINS": "/b"}, ["DEST={}"]), ({"DEST": "/a"}, ["DAGS={}/dags", "PLUGINS={}/plugins"])],
)
def test_what_is_typed_wins_over_what_the_shell_exports(airflow, exported: dict[str, str], typed: list[str]):
    host = airflow[0].parent
    ran = subprocess.run(
        ["make", "--no-print-directory", "install", *(variable.format(host) for variable in typed)],
        cwd=REPOSITORY,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **exported},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert (host / "dags/s3_downloader.py").is_file()


def test_a_host_whose_folders_are_elsewhere_is_reached_by_links(airflow, tmp_path: Path):
    (host := tmp_path / "host").mkdir()
    (tmp_path / "their_plugins").mkdir()
    (host / "dags").symlink_to(airflow[0])
    (host / "plugins").symlink_to(tmp_path / "their_plugins")
    assert run("install", "", "", host).returncode == 0
    assert (airflow[0] / "s3_downloader.py").is_file()
    assert (tmp_path / "their_plugins/s3_downloader_impl/host.py").is_file()
    assert run("uninstall", "", "", host).returncode == 0
    assert contents(tmp_path / "their_plugins") == {}


# --- packages -----------------------------------------------------------------------------------------------------


@pytest.fixture
def python(tmp_path: Path):
    """A Python with packages of these versions, beside what the tests' own has; a None is one that is missing."""

    def make(**versions: str | None) -> Path:
        site = tmp_path / "site"
        for name, version in versions.items():
            (site / f"{name}-{version}.dist-info").mkdir(parents=True)
            (site / f"{name}-{version}.dist-info/METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            )
        (site / "common").mkdir()
        (site / "common/__init__.py").touch()
        wrapper = tmp_path / "python"
        # `-I` leaves no other way in.
        wrapper.write_text(
            f"#!/bin/sh\nshift; shift; code=\"import sys; sys.path.insert(0, '{site}'); $1\"; shift\n"
            f'exec {sys.executable} -I -c "$code" "$@"\n'
        )
        wrapper.chmod(0o755)
        return wrapper

    return make


def test_packages_that_are_too_old_are_named_and_others_stay(airflow, python):
    old = python(boto3="1.30.0", pymongo="99.0")

    ran = run("install", *airflow, "", old)

    assert ran.returncode == 0, ran.stderr
    floor = read_floors()["boto3"]
    assert f"\n  boto3 1.30.0 is too old, at least {floor} is needed: " in ran.stdout
    assert "pymongo" not in ran.stdout
    assert f"\n  {old} -m pip install 'boto3==" in ran.stdout
    assert f"An installed package 'common' ({old.parent / 'site/common/__init__.py'}) comes before ours" in ran.stdout


def test_packages_as_lines_for_pip(python):
    ran = subprocess.run(
        [sys.executable, "-m", "airflow_src.install.packages", python(boto3="1.30.0")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.partition("==")[0] for line in ran.stdout.splitlines()] == ["boto3"]
    assert "boto3 1.30.0 is too old" in ran.stderr


def wheel(folder: Path, name: str, version: str, *requires: str) -> None:
    """A package without a module."""
    name = name.replace("-", "_")
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{info}/METADATA", "\n".join([*lines, *(f"Requires-Dist: {each}" for each in requires)]) + "\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


def test_what_pip_would_replace_beside_is_said(tmp_path: Path):
    venv.create(tmp_path / "airflow", with_pip=True)
    python = tmp_path / "airflow/bin/python"
    (wheels := tmp_path / "wheels").mkdir()
    for line in (REPOSITORY / "requirements.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        if version:
            wheel(wheels, name, version.split()[0], *(["theirs<3"] if name == "botocore" else []))
    for version in ("2.9", "4.0"):
        wheel(wheels, "theirs", version)
    wheel(wheels, "packaging", "1.0")
    index = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    subprocess.run([python, "-m", "pip", "install", "--quiet", "theirs==4.0"], env=index, check=True)
    site = next((tmp_path / "airflow/lib").glob("python*/site-packages"))
    shutil.copytree(Path(packaging.__file__).parent, site / "packaging")  # as every Airflow has it

    def ask(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "airflow_src.install.packages", python]
        return subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=True)

    said = ask(index)
    assert "theirs" not in said.stdout
    assert said.stderr.splitlines()[-1] == "theirs 4.0 would become 2.9"
    assert "\nbotocore is missing: " in said.stderr
    silent = ask({**index, "PIP_FIND_LINKS": str(tmp_path)})
    assert silent.stdout == said.stdout
    assert silent.stderr.splitlines()[-1] == f"{python} -m pip does not say what else it would change"


def test_without_a_python_to_ask_it_says_how(airflow):
    ran = run("install", *airflow)
    assert "Packages: not looked at: AIRFLOW_PYTHON does not say which Python Airflow has" in ran.stdout
    assert run("install", *airflow, "", "/nowhere/python").returncode == 0


def test_every_requirement_has_a_floor_and_no_other_has():
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    assert list(read_floors()) == [line.partition("==")[0] for line in lines if "==" in line]


def test_list_says_what_it_is(airflow):
    assert run("install", *airflow).returncode == 0
    listed = json.loads((airflow[1] / LIST).read_text())
    assert "make uninstall needs it" in listed["about"]
    (airflow[1] / LIST).write_text("{}")
    ran = run("install", *airflow)
    assert ran.stderr == f"{airflow[1].resolve() / LIST} cannot be read: was it changed by hand?\n"
