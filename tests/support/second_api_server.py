"""A second API server of a stand's Airflow: behind a path, with users of several roles; it can go away."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.processes import LOCALHOST, ChildProcess, pick_port, wait_until
from demo.stand import Stand

PATH = "/behind/a/proxy"
ROLES = {"ada": "admin", "otto": "user", "vera": "viewer"}
"""The password of each is the name."""
_START_SECONDS = 180


class SecondApiServer(ChildProcess):
    """The process, which is stopped and started again by its `stop` and `start`.

    Attributes:
        url: its base URL, without a slash at the end.
    """

    def __init__(self, stand: Stand, folder: Path) -> None:
        port = pick_port(None)
        self.url = f"http://{LOCALHOST}:{port}{PATH}"
        self._airflow = stand.airflow
        passwords = folder / "passwords.json"
        passwords.write_text(json.dumps({name: name for name in ROLES}))
        variables = {
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in ROLES.items()),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        }
        command = [Path(sys.executable).with_name("airflow"), "api-server"]
        environment = stand.airflow._environment | variables
        super().__init__("The second API server", command, folder / "api-server.log", environment, folder)

    def wait(self) -> None:
        """Wait until it answers.

        Raises:
            StartError: it ended, or the time is over.
        """
        api = type(self._airflow.api)(self.url, {"username": "ada", "password": "ada"})
        wait_until(api.is_healthy, [self], "The second API server", _START_SECONDS, lambda: None)


@contextmanager
def second_api_server(stand: Stand, folder: Path) -> Iterator[SecondApiServer]:
    """Started and ready."""
    server = SecondApiServer(stand, folder)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.stop()
