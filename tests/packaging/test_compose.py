"""docker-compose.yaml as real compose parsers understand it."""

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet

from tests.packaging.compose_parsers import COMPOSE_FILE, REPOSITORY, ComposeProject, available_parsers

SERVERS = {"postgres", "redis", "mongodb"}
AIRFLOW_DAEMONS = {
    "airflow-apiserver": "api-server",
    "airflow-scheduler": "scheduler",
    "airflow-dag-processor": "dag-processor",
    "airflow-triggerer": "triggerer",
    "airflow-worker": "worker",
}
ONE_SHOTS = {"airflow-init", "s3-init"}
LOCAL_PROFILE = {"s3", "s3-init"}
ALL_SERVICES = SERVERS | set(AIRFLOW_DAEMONS) | ONE_SHOTS | LOCAL_PROFILE

PARSERS = available_parsers()
SOURCE = COMPOSE_FILE.read_text()
VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z0-9_]+)(?::([-?])([^}]*))?\}")
REQUIRED = sorted({name for name, operator, _ in VARIABLE.findall(SOURCE) if operator == "?"})
SECRET_NAME = re.compile(r"PASSWORD|SECRET|KEY|_CONN|BROKER_URL|RESULT_BACKEND")


@pytest.fixture(scope="module", params=PARSERS.values(), ids=PARSERS.keys())
def parser(request: pytest.FixtureRequest) -> list[str]:
    return request.param


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> ComposeProject:
    """Never changed by a test; tests that change .env make their own."""
    return ComposeProject.create(tmp_path_factory.mktemp("compose"))


@pytest.fixture(scope="module")
def compose(project: ComposeProject, parser: list[str]) -> dict[str, Any]:
    return project.parse(parser)


@pytest.fixture
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return compose["services"]


def volume_at(service: dict[str, Any], target: str) -> dict[str, Any]:
    (volume,) = [volume for volume in service["volumes"] if volume["target"] == target]
    return volume


def test_all_services_are_there(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == ALL_SERVICES


def test_only_the_local_profile_is_optional(services: dict[str, dict[str, Any]]) -> None:
    assert {name for name, service in services.items() if service.get("profiles")} == LOCAL_PROFILE
    assert all(services[name]["profiles"] == ["local"] for name in LOCAL_PROFILE)


def test_images_are_pinned(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        tag = service["image"].partition(":")[2]
        assert re.match(r"v?\d+\.\d+\.\d+|\d+\.\d+-", tag), f"{name}: {service['image']}"


def test_own_image_has_the_version_of_the_project(services: dict[str, dict[str, Any]]) -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    own = {service["image"] for service in services.values() if "build" in service}
    assert own == {f"kraken-s3-downloader:{version}"}


def test_own_image_is_built_from_the_repository(services: dict[str, dict[str, Any]], project: ComposeProject) -> None:
    build = services["airflow-worker"]["build"]
    assert (project.folder / build["context"]).resolve() == project.folder.resolve()
    assert (REPOSITORY / build["dockerfile"]).is_file()


def test_what_stays_up_has_a_health_check_and_is_restarted(services: dict[str, dict[str, Any]]) -> None:
    for name in ALL_SERVICES - ONE_SHOTS:
        assert services[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}, name
        assert services[name]["restart"] == "unless-stopped", name


def test_one_shots_are_not_restarted(services: dict[str, dict[str, Any]]) -> None:
    for name in ONE_SHOTS:
        assert services[name]["restart"] == "no", name


def test_airflow_services_check_their_own_role(services: dict[str, dict[str, Any]]) -> None:
    for name, role in AIRFLOW_DAEMONS.items():
        assert services[name]["healthcheck"]["test"] == [
            "CMD",
            "python",
            "/opt/airflow/docker/healthcheck.py",
            role,
        ]
        command = services[name]["command"]
        assert command[: command.index(role) + 1] in (["airflow", role], ["airflow", "celery", role])


def test_nothing_starts_before_what_it_needs(services: dict[str, dict[str, Any]]) -> None:
    healthy, completed = {"condition": "service_healthy"}, {"condition": "service_completed_successfully"}
    assert services["airflow-init"]["depends_on"]["postgres"] == healthy
    for name in AIRFLOW_DAEMONS:
        needs = services[name]["depends_on"]
        assert (needs["postgres"], needs["redis"], needs["airflow-init"]) == (healthy, healthy, completed), name
    worker = services["airflow-worker"]["depends_on"]
    assert (worker["mongodb"], worker["airflow-apiserver"]) == (healthy, healthy)
    assert services["s3-init"]["depends_on"]["s3"] == healthy


def test_worker_serves_the_queue_of_the_dag(services: dict[str, dict[str, Any]]) -> None:
    from common.constants import AIRFLOW_QUEUE_PREFIX  # noqa: PLC0415 - only this test needs the project's code

    command = services["airflow-worker"]["command"]
    assert command[command.index("--queues") + 1] == f"{AIRFLOW_QUEUE_PREFIX}s3_download"


def test_downloads_leave_a_worker_room_for_small_tasks(services: dict[str, dict[str, Any]]) -> None:
    """Else they wait for hours, and Airflow fails what is queued for half an hour."""
    slots = re.search(
        r"^POOL_SLOTS=(\d+)$", (REPOSITORY / "airflow_src/docker/airflow-init.sh").read_text(), re.MULTILINE
    )
    assert slots
    assert int(services["airflow-worker"]["environment"]["AIRFLOW__CELERY__WORKER_CONCURRENCY"]) > int(slots[1])


def test_worker_writes_to_the_output_that_the_settings_name(
    services: dict[str, dict[str, Any]], project: ComposeProject
) -> None:
    environment = services["airflow-worker"]["environment"]
    settings_file = Path(environment["ALPHAKRAKEN_YAML"])
    envs = volume_at(services["airflow-worker"], str(settings_file.parent))
    settings = yaml.safe_load((project.folder / envs["source"] / settings_file.name).read_text())

    output = volume_at(services["airflow-worker"], settings["locations"]["output"]["absolute_path"])

    assert output["type"] == "bind"
    assert not output.get("read_only")
    assert (project.folder / output["source"]).is_dir()  # make_env.py created it


def test_only_the_worker_can_write_to_the_output(services: dict[str, dict[str, Any]]) -> None:
    mounted = {
        name
        for name, service in services.items()
        for volume in service.get("volumes") or []
        if volume["target"].startswith("/opt/kraken")
    }
    assert mounted == {"airflow-worker"}


def test_worker_may_finish_its_downloads_when_stopped(services: dict[str, dict[str, Any]]) -> None:
    assert services["airflow-worker"]["stop_grace_period"] in {"10m", "10m0s"}
    assert services["airflow-worker"]["init"] is True  # SIGTERM must reach Celery's main process alone


def test_redis_does_not_hand_a_running_download_to_a_second_worker(services: dict[str, dict[str, Any]]) -> None:
    timeout = services["airflow-worker"]["environment"]["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"]
    assert int(timeout) > 8 * 3600  # the execution timeout of the download task


def test_airflow_is_configured_alike_everywhere(services: dict[str, dict[str, Any]]) -> None:
    shared = services["airflow-scheduler"]["environment"]
    for name in [*AIRFLOW_DAEMONS, "airflow-init"]:
        assert shared.items() <= services[name]["environment"].items(), name
    assert shared["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert shared["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://airflow-apiserver:8080/execution/"
    assert shared["AIRFLOW__CORE__AUTH_MANAGER"].endswith(".FabAuthManager")


def test_containers_of_ours_have_no_privileges(services: dict[str, dict[str, Any]]) -> None:
    for name in [*AIRFLOW_DAEMONS, *ONE_SHOTS]:
        assert services[name]["cap_drop"] == ["ALL"], name
        assert services[name]["user"].partition(":")[0] not in {"", "0", "root"}, name
    for name, service in services.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name


def test_keys_to_the_data_go_to_the_worker_only(project: ComposeProject, services: dict[str, dict[str, Any]]) -> None:
    variables = project.variables()
    holders = {
        secret: {name for name, service in services.items() if variables[secret] in str(service.get("environment"))}
        for secret in ("AIRFLOW_CONN_AWS_DEFAULT", "MONGO_PASSWORD", "MONGO_RW_PASSWORD", "MONGO_ROOT_PASSWORD")
    }
    # str() of a dictionary escapes nothing in this JSON, which has no single quote.
    assert holders == {
        "AIRFLOW_CONN_AWS_DEFAULT": {"airflow-worker", "s3-init"},
        "MONGO_PASSWORD": {"airflow-worker", "mongodb"},
        "MONGO_RW_PASSWORD": {"mongodb"},
        "MONGO_ROOT_PASSWORD": {"mongodb"},
    }


def test_nothing_listens_beyond_this_machine(services: dict[str, dict[str, Any]]) -> None:
    published = {name: service["ports"] for name, service in services.items() if service.get("ports")}
    assert set(published) == {"airflow-apiserver", "s3"}
    for ports in published.values():
        for port in ports:
            host = port["host_ip"] if isinstance(port, dict) else port.split(":")[0]
            assert host == "127.0.0.1"


def test_files_that_are_mounted_exist_and_cannot_be_changed(
    services: dict[str, dict[str, Any]], project: ComposeProject
) -> None:
    binds = [
        volume
        for service in services.values()
        for volume in service.get("volumes") or []
        if volume["type"] == "bind" and volume["target"] != "/opt/kraken/output"
    ]
    assert binds
    for volume in binds:
        assert (project.folder / volume["source"]).exists(), volume
        assert volume["read_only"] is True, volume


def test_named_volumes_are_declared(compose: dict[str, Any]) -> None:
    used = {
        volume["source"]
        for service in compose["services"].values()
        for volume in service.get("volumes") or []
        if volume["type"] == "volume"
    }
    assert used == set(compose["volumes"])


def test_mongodb_gets_the_init_script_and_the_users(
    services: dict[str, dict[str, Any]], project: ComposeProject
) -> None:
    script = volume_at(services["mongodb"], "/docker-entrypoint-initdb.d/mongo-init.js")
    text = (project.folder / script["source"]).read_text()
    wanted = set(re.findall(r'required\("(\w+)"\)', text))
    assert wanted == {"MONGO_USER", "MONGO_PASSWORD", "MONGO_RW_USER", "MONGO_RW_PASSWORD"}
    assert wanted <= set(services["mongodb"]["environment"])


def test_worker_reaches_the_local_s3_server(project: ComposeProject, services: dict[str, dict[str, Any]]) -> None:
    connection = yaml.safe_load(services["airflow-worker"]["environment"]["AIRFLOW_CONN_AWS_DEFAULT"])
    s3 = services["s3"]
    port = s3["command"][s3["command"].index("--port") + 1]
    assert connection["extra"]["endpoint_url"] == f"http://s3{port}"
    assert connection["extra"]["region_name"] == s3["command"][s3["command"].index("--region") + 1]
    assert connection["login"] == s3["environment"]["ROOT_ACCESS_KEY_ID"] == project.variables()["LOCAL_S3_ACCESS_KEY"]
    assert connection["password"] == s3["environment"]["ROOT_SECRET_ACCESS_KEY"]


def test_no_secret_is_written_in_the_file() -> None:
    source = yaml.safe_load(SOURCE)
    checked = 0
    for name, service in source["services"].items():
        for variable, value in service.get("environment", {}).items():
            if SECRET_NAME.search(variable):
                checked += 1
                assert VARIABLE.findall(value), f"{name}: {variable} is written out"
                assert all(operator == "?" for _, operator, _ in VARIABLE.findall(value)), f"{name}: {variable}"
    assert checked > 20
    assert not re.search(r"://[^$@\s]*:[^$@\s]+@", SOURCE), "a password in a URL"


def test_every_variable_is_explained_in_the_example_with_the_same_default() -> None:
    example = [line for line in (REPOSITORY / ".env.example").read_text().splitlines() if line]
    given = {line.partition("=")[0]: line.partition("=")[2] for line in example if not line.startswith("#")}
    used = {(name, operator, text) for name, operator, text in VARIABLE.findall(SOURCE)}

    assert {name for name, _, _ in used} | {"COMPOSE_PROFILES"} == set(given)
    for name, operator, default in used:
        assert given[name] == (default if operator == "-" else ""), name
    for before, line in itertools.pairwise(example):
        if not line.startswith("#") and not before.startswith("#"):
            # These share the comment above their neighbour.
            names = {"MONGO_PORT", "AIRFLOW_GID", "AIRFLOW_ADMIN_EMAIL", "AIRFLOW_BIND", "AIRFLOW_PORT"}
            assert line.partition("=")[0] in names, f"{line} has no comment"


@pytest.mark.parametrize("name", REQUIRED)
def test_a_secret_that_is_unset_stops_with_a_clear_message(tmp_path: Path, name: str) -> None:
    project = ComposeProject.create(tmp_path)
    project.set_variable(name, "")

    result = project.run(PARSERS["podman-compose"])

    assert result.returncode != 0
    assert f"set {name} in .env, see .env.example" in result.stderr


def test_every_parser_refuses_a_missing_secret(tmp_path: Path, parser: list[str]) -> None:
    project = ComposeProject.create(tmp_path)
    project.set_variable("REDIS_PASSWORD", "")

    result = project.run(parser)

    assert result.returncode != 0
    assert "set REDIS_PASSWORD in .env, see .env.example" in result.stderr


def test_generated_secrets_suit_what_they_are_for(project: ComposeProject) -> None:
    variables = project.variables()
    assert not [name for name in REQUIRED if not variables[name]]
    Fernet(variables["AIRFLOW_FERNET_KEY"])
    assert len(variables["AIRFLOW_JWT_SECRET"]) >= 64
    in_urls = [variables["POSTGRES_PASSWORD"], variables["REDIS_PASSWORD"]]
    assert all(value.isalnum() for value in in_urls)
    secrets = [variables[name] for name in REQUIRED if name != "KRAKEN_OUTPUT_DIR"]
    assert len(set(secrets)) == len(secrets)
