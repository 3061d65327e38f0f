"""How Airflow finds and loads our files: ignore files in both syntaxes (A6), one module name for each file (N3)."""

import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.dags.conftest import DAGS, PLUGINS, SOURCE
from tests.support.airflow_lines import find_modules


def found_by_airflow(folder: Path, syntax: str) -> list[str]:
    """Python files of a folder that Airflow's own walker finds."""
    found = [Path(path) for path in find_modules(folder, syntax)]
    return sorted(str(path.relative_to(folder)) for path in found if path.suffix == ".py")


@pytest.mark.rule("A6")
@pytest.mark.parametrize("syntax", ["glob", "regexp"])
def test_a6_only_the_dag_files_are_parsed(syntax):
    assert found_by_airflow(DAGS, syntax) == ["s3_batch_downloader.py", "s3_downloader.py"]


@pytest.mark.rule("A6")
@pytest.mark.parametrize("syntax", ["glob", "regexp"])
def test_a6_no_file_is_executed_as_a_plugin_but_the_page(syntax):
    assert found_by_airflow(PLUGINS, syntax) == ["s3_restores_page.py"]


@pytest.mark.rule("A6")
def test_a6_without_the_ignore_files_all_would_be_found(tmp_path):
    """Else the tests above would prove nothing."""
    modules = {str(path.relative_to(SOURCE)) for path in DAGS.rglob("*.py")}
    for path in modules:
        copy = tmp_path / "copy" / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.touch()
    assert set(found_by_airflow(tmp_path / "copy", "glob")) == modules
    assert len(modules) > 1


def test_no_import_errors_in_a_process_that_knows_airflows_settings_only(airflow_process):
    assert airflow_process["import_errors"] == {}
    assert airflow_process["plugin_errors"] == {}
    assert airflow_process["dags"] == ["s3_batch_downloader", "s3_downloader"]


@pytest.mark.rule("N3")
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("common", PLUGINS / "common/__init__.py"),
        ("common.constants", PLUGINS / "common/constants.py"),
        ("common.callbacks", PLUGINS / "common/callbacks.py"),
        ("shared", PLUGINS / "shared/__init__.py"),
        ("s3_restore", PLUGINS / "s3_restore/__init__.py"),
        ("impl", DAGS / "impl/__init__.py"),
        ("impl.handler_impl", DAGS / "impl/handler_impl.py"),
    ],
)
def test_n3_it_is_our_file_and_not_another_installed_one(airflow_process, name, file):
    """Airflow appends its folders to sys.path, so another installed ``common`` would win."""
    assert Path(airflow_process["modules"][name]) == file


@pytest.mark.rule("N3")
def test_n3_no_file_is_loaded_under_two_names(airflow_process):
    names = defaultdict(list)
    for name, file in airflow_process["modules"].items():
        if SOURCE in Path(file).parents:
            names[file].append(name)
    assert len(names) > 20, "all of ours are there"
    assert {file: found for file, found in names.items() if len(found) > 1} == {}
    spelled = [name for found in names.values() for name in found if not name.startswith("unusual_prefix_")]
    assert {name.partition(".")[0] for name in spelled} == {
        "common",
        "impl",
        "s3_restore",
        "s3_restores_page",
        "shared",
    }


@pytest.mark.rule("A6")
def test_a6_no_module_of_the_standard_library_is_shadowed(airflow_process):
    shadowed = {
        name: file
        for name, file in airflow_process["modules"].items()
        if name.partition(".")[0] in sys.stdlib_module_names and SOURCE in Path(file).parents
    }
    assert shadowed == {}


@pytest.mark.rule("A6")
def test_a6_even_without_the_ignore_file_no_bare_name_would_shadow_the_standard_library():
    """A deployment that merges our plugins folder into its own may lose our .airflowignore."""
    stems = {path.stem for path in SOURCE.rglob("*.py")} - {"__init__"}
    assert stems & set(sys.stdlib_module_names) == set()
