"""The Dockerfile, as far as it goes without an engine: its claims, and its install steps in a clean environment."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.packaging.compose_parsers import REPOSITORY

DOCKERFILE = (REPOSITORY / "airflow_src/Dockerfile").read_text()
# Comments out, continued lines joined: one instruction a line.
ALL_INSTRUCTIONS = [
    " ".join(line.split())
    for line in re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    if line.strip()
]
BASES = [number for number, line in enumerate(ALL_INSTRUCTIONS) if line.startswith("FROM ")]
NATIVE_STAGE, INSTRUCTIONS = ALL_INSTRUCTIONS[: BASES[-1]], ALL_INSTRUCTIONS[BASES[-1] :]  # the image is the last stage
IGNORED = (REPOSITORY / ".dockerignore").read_text().splitlines()
UV = Path(sys.executable).with_name("uv")


def pins(name: str) -> dict[str, str]:
    """Return package -> version of a requirements or lock file."""
    lines = (REPOSITORY / name).read_text().splitlines()
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==(\S+)", "\n".join(lines), flags=re.MULTILINE))


def test_base_image_is_pinned_to_the_python_of_the_lock() -> None:
    base = INSTRUCTIONS[0]
    assert re.fullmatch(r"FROM python:3\.11\.\d+-slim-bookworm", base)
    makefile = (REPOSITORY / "Makefile").read_text()
    assert "--python-version 3.11" in makefile
    # The same Python on the same Debian, with a compiler: what is built there runs in the image.
    assert NATIVE_STAGE[0] == f"{base.replace('-slim-', '-')} AS native"


def test_installer_is_the_one_that_makes_the_lock() -> None:
    in_makefile = re.search(r"^UV_VERSION := (\S+)", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE)
    assert in_makefile
    assert f"uv=={in_makefile[1]} " in DOCKERFILE


def test_runs_without_root() -> None:
    users = [line for line in INSTRUCTIONS if line.startswith("USER ")]
    assert users[-1] == "USER 50000:0"
    assert INSTRUCTIONS.index(users[-1]) > max(i for i, line in enumerate(INSTRUCTIONS) if line.startswith("RUN "))


def test_nothing_is_fetched_but_what_the_lock_names() -> None:
    assert not re.search(r"\bapt(-get)?\b|curl|wget|ADD |git clone", DOCKERFILE)


def test_native_module_is_built_with_the_setuptools_of_the_lock() -> None:
    build = tomllib.loads((REPOSITORY / "airflow_src/native/pyproject.toml").read_text())["build-system"]
    assert build["requires"] == [f"setuptools=={pins('airflow_src/docker/requirements.lock')['setuptools']}"]


def test_copied_folders_are_in_the_build_context() -> None:
    sources = [line.split()[1] for line in ALL_INSTRUCTIONS if line.startswith("COPY ") and "--from" not in line]
    let_in = [line[1:] for line in IGNORED if line.startswith("!")]
    assert "*" in IGNORED
    for source in sources:
        assert (REPOSITORY / source).exists(), source
        assert any(source == folder or source.startswith(f"{folder}/") for folder in let_in), source


def test_image_has_the_very_versions_that_the_tests_run_with() -> None:
    image, run = pins("airflow_src/docker/requirements.lock"), pins("requirements.lock")
    assert run.items() <= image.items()


def test_lock_is_up_to_date() -> None:
    wanted = pins("airflow_src/docker/requirements.txt") | pins("requirements.txt")
    assert wanted.items() <= pins("airflow_src/docker/requirements.lock").items()


def test_celery_is_one_that_works_with_airflow() -> None:
    version = tuple(int(part) for part in pins("airflow_src/docker/requirements.lock")["celery"].split("."))
    assert version < (5, 7)


def test_image_says_the_licence_of_the_project() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert f'image.licenses="{project["license"]}"' in DOCKERFILE


@pytest.fixture(scope="module")
def image_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that was made with the Dockerfile's own install line."""
    environment = tmp_path_factory.mktemp("image") / "venv"
    python = environment / "bin" / "python"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    (run,) = [line.removeprefix("RUN ") for line in INSTRUCTIONS if line.startswith("RUN pip install")]
    steps = [step.strip() for step in run.split("&&")]
    assert [step.split()[:3] for step in steps] == [
        ["pip", "install", "--no-cache-dir"],
        ["uv", "pip", "install"],
        ["uv", "pip", "check"],
        ["rm", "/tmp/requirements.lock"],
    ]
    for step in steps[1:3]:
        command = (
            step.replace("--system", f"--python {python}")
            .replace("/tmp/requirements.lock", "airflow_src/docker/requirements.lock")
            # Not what is under test, and slow: the download, when the cache has it, and the compilation.
            .replace(" --no-cache", "")
            .replace(" --compile-bytecode", "")
        )
        result = subprocess.run([UV, *command.split()[1:]], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{command}\n{result.stderr}"
    return python


@pytest.fixture(scope="module")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the COPY and chmod steps of the Dockerfile put below `/`."""
    root = tmp_path_factory.mktemp("root")
    kept_out = [line[3:] for line in IGNORED if line.startswith("**/")]
    for line in INSTRUCTIONS:
        if line.startswith("COPY airflow_src/") and not line.endswith(".lock"):
            _, source, target = line.split()
            shutil.copytree(REPOSITORY / source, root / target[1:], ignore=shutil.ignore_patterns(*kept_out))
    (chmod,) = [line.removeprefix("RUN ") for line in INSTRUCTIONS if line.startswith("RUN chmod")]
    subprocess.run(chmod.replace(" /", f" {root}/"), shell=True, check=True)
    return root


@pytest.fixture
def container_environment(image_root: Path, tmp_path: Path) -> dict[str, str]:
    """The image's environment, with folders of this machine; the code is that of the image."""
    (line,) = [line.removeprefix("ENV ") for line in INSTRUCTIONS if line.startswith("ENV ")]
    variables = dict(part.split("=", 1) for part in line.split())
    variables["PYTHONPATH"] = variables["PYTHONPATH"].replace("/opt", f"{image_root}/opt")
    return {**variables, "PATH": os.environ["PATH"], "AIRFLOW_HOME": str(tmp_path), "HOME": str(tmp_path)}


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_image_hashes_with_the_native_module(image_python: Path, image_root: Path, tmp_path: Path) -> None:
    """What the stage builds is copied, installed and used, and no digest of it is believed before it is proved."""
    copied, (wheel,) = ([line for line in stage if line.startswith(start)] for stage, start in _NATIVE_STEPS)
    assert copied == ["COPY --from=native /wheels /tmp/wheels"]
    source = tmp_path / "native"
    kept_out = [line[3:] for line in IGNORED if line.startswith("**/")]
    shutil.copytree(REPOSITORY / "airflow_src/native", source, ignore=shutil.ignore_patterns(*kept_out))
    assert {"build", "dist", "*.so", "*.egg-info"} <= set(kept_out), "what was built on this machine stays here"
    command = wheel.removeprefix("RUN pip wheel").replace("/wheels", f"{tmp_path}/wheels")
    command = command.replace(" /native", f" {source}")
    environment = {**os.environ, "PIP_NO_INDEX": "1"}
    build = [sys.executable, "-m", "pip", "wheel", *command.split(), "--no-build-isolation"]  # setuptools is here
    subprocess.run(build, check=True, capture_output=True, env=environment)
    (install,) = [line.removeprefix("RUN uv ") for line in INSTRUCTIONS if line.startswith("RUN uv pip install")]
    install = install.partition("&&")[0].replace("/tmp", str(tmp_path)).replace("--system", f"--python {image_python}")
    subprocess.run(f"{UV} {install}", shell=True, check=True, capture_output=True)
    code = "from s3_restore.disk import md5_backend; print(md5_backend.BACKEND_NAME)"
    plugins = {"PYTHONPATH": str(image_root / "opt/airflow/plugins")}
    said = subprocess.run([image_python, "-B", "-c", code], env=plugins, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("native ")


_NATIVE_STEPS = ((INSTRUCTIONS, "COPY --from"), (NATIVE_STAGE, "RUN "))


def test_image_has_all_of_our_code_and_nothing_else(image_root: Path) -> None:
    ours = subprocess.run(
        [
            "git",
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            *(f"airflow_src/{name}" for name in ("dags", "plugins", "envs", "docker")),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    opt = image_root / "opt/airflow"
    inside = {f"airflow_src/{path.relative_to(opt)}" for path in opt.rglob("*") if path.is_file()}
    assert inside == set(ours)
    assert {path.stat().st_mode & 0o777 for path in opt.rglob("*") if path.is_dir()} == {0o755}
    assert {path.stat().st_mode & 0o666 for path in opt.rglob("*") if path.is_file()} == {0o644}


def test_dags_and_all_modules_load_from_the_image(
    image_python: Path, image_root: Path, container_environment: dict[str, str]
) -> None:
    """With nothing but the locked packages: what a module imports and the lock lacks is found here."""
    opt = image_root / "opt/airflow"
    code = (
        "import importlib, json, sys\n"
        "from airflow.dag_processing.dagbag import DagBag\n"
        "bag = DagBag(sys.argv[1])\n"
        "for name in sys.argv[2:]:\n"
        "    importlib.import_module(name)\n"
        "print(json.dumps([sorted(bag.dags), bag.import_errors]))"
    )
    folders = {opt / "dags": "impl/**/*.py", opt / "plugins": "**/*.py"}
    modules = [
        ".".join(path.relative_to(folder).with_suffix("").parts)
        for folder, pattern in folders.items()
        for path in folder.glob(pattern)
        if path.name != "__init__.py"
    ]
    assert {"impl.batch_impl", "s3_restore.run.restorer", "common.restore_metrics"} <= set(modules)
    result = subprocess.run(
        [image_python, "-W", "ignore", "-B", "-c", code, opt / "dags", *modules, "awscrt.checksums", "statsd"],
        env=container_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    dags, errors = json.loads(result.stdout.splitlines()[-1])
    assert errors == {}
    assert dags == ["s3_batch_downloader", "s3_downloader"]


def test_install_steps_give_the_airflow_of_the_lock(image_python: Path, container_environment: dict[str, str]) -> None:
    result = subprocess.run(
        [image_python.with_name("airflow"), "version"],
        env=container_environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split()[-1] == pins("requirements.txt")["apache-airflow"]


def test_what_compose_configures_can_be_imported(
    image_python: Path, image_root: Path, container_environment: dict[str, str]
) -> None:
    code = (
        "import common, mongoengine, psycopg2, redis, boto3\n"
        "from airflow.providers.celery.executors.celery_executor import CeleryExecutor\n"
        "from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager\n"
        "print(common.__file__)"
    )
    result = subprocess.run(
        [image_python, "-W", "ignore", "-c", code],
        env=container_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-1] == str(image_root / "opt/airflow/plugins/common/__init__.py")


def test_worker_check_hides_the_password_of_the_broker(image_python: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [image_python, REPOSITORY / "airflow_src/docker/healthcheck.py", "worker"],
        env={"AIRFLOW__CELERY__BROKER_URL": "redis://:geheim@127.0.0.1:1/0", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("unhealthy: celery@")
    assert "broker cannot be reached" in result.stderr
    assert "geheim" not in result.stdout + result.stderr
