"""Files that tools read: settings, hooks, the CI script, the licence."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from s3_restore.model.settings import RestoreSettings, default_concurrency
from tests.packaging.compose_parsers import REPOSITORY

ENVS = REPOSITORY / "airflow_src/envs"


@pytest.mark.parametrize("name", ["alphakraken.local.yaml", "alphakraken.example.yaml"])
def test_settings_files_hold_what_the_contract_asks_for(name: str) -> None:
    settings = yaml.safe_load((ENVS / name).read_text())
    assert set(settings) == {"general", "locations", "backup"}
    assert Path(settings["locations"]["output"]["absolute_path"]).is_absolute()
    assert settings["backup"]["backup_type"] == "s3"
    assert set(settings["backup"]["s3"]) == {"region", "bucket_prefix"}
    assert settings["general"]["notifications"]["ops_alerts_webhook_url"] == ""


def test_example_shows_every_optional_setting_with_its_default() -> None:
    text = (ENVS / "alphakraken.example.yaml").read_text()
    commented = text[text.index("# s3_download:") :]
    shown = yaml.safe_load(re.sub(r"^# ?", "", commented, flags=re.MULTILINE))["s3_download"]
    # The default depends on the machine; any that it can be is right.
    assert 12 <= shown.pop("max_concurrency") <= 16

    defaults = RestoreSettings()

    assert RestoreSettings.from_mapping(shown) == defaults
    names = set(vars(defaults))
    assert set(shown) | {"max_concurrency"} == names
    assert defaults.max_concurrency == default_concurrency()


def test_hooks_are_valid_and_need_no_network() -> None:
    config = REPOSITORY / ".pre-commit-config.yaml"
    pre_commit = Path(sys.executable).with_name("pre-commit")
    subprocess.run([pre_commit, "validate-config", config], check=True)
    repositories = yaml.safe_load(config.read_text())["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    assert {hook["language"] for hook in repositories[0]["hooks"]} == {"system", "fail"}


def test_hooks_call_what_exists() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for hook in yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]:
        command = hook["entry"].split()
        if command[0] == "make":
            assert re.search(rf"^{command[1]}:", makefile, flags=re.MULTILINE), hook["id"]
        elif hook["language"] == "system":
            assert (Path(sys.executable).parent / Path(command[0]).name).exists(), hook["id"]


@pytest.mark.parametrize("script", [".ci/run", "airflow_src/docker/airflow-init.sh"])
def test_shell_scripts_parse_and_stop_at_the_first_error(script: str) -> None:
    path = REPOSITORY / script
    subprocess.run(["bash", "-n", path], check=True)
    lines = path.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines


def test_ci_runs_all_tests() -> None:
    script = (REPOSITORY / ".ci/run").read_text()
    commands = re.findall(r"^ *((?:\w+=\S+ |timeout \d+ )*make .*)$", script, flags=re.MULTILINE)
    assert commands == [
        "make test </dev/null || PYTEST_ADDOPTS=--last-failed make test </dev/null",
        "SHORT=1 POWER_CUTS=6 make test-disks </dev/null # it installs file systems",
        "DEMO_EXIT=1 make demo </dev/null",
        "make test-fleet </dev/null || make test-fleet </dev/null",
    ]


def test_licence_is_the_whole_apache_licence() -> None:
    text = (REPOSITORY / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_backup_design_has_the_section_that_the_plan_asks_for() -> None:
    headings = re.findall(r"^## (.*)", (REPOSITORY / "design_docs/S3_BACKUP_DESIGN.md").read_text(), flags=re.MULTILINE)
    assert headings[-2] == "12. S3 Download Feature"
    assert headings[-1].endswith("Future Enhancements")
    assert [heading.split(".")[0] for heading in headings] == [str(number) for number in range(1, 14)]
