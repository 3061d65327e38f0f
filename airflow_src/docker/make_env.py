"""Write ``.env`` from ``.env.example`` with fresh secrets, for a first start on one machine.

Usage: ``python3 make_env.py [FOLDER]``, FOLDER being the one with docker-compose.yaml (default: the current one). Never
overwrites a ``.env``. Standard library only: it runs before anything is installed.
"""

import base64
import json
import os
import secrets
import sys
from pathlib import Path

OUTPUT_DIR = ".demo/compose-output"
_IMAGE_USER = 50000


def generated_values() -> dict[str, str]:
    """Return the variables that have no default in ``.env.example``: secrets, and what suits this machine.

    Secrets are hexadecimal, because some become part of a URL.
    """
    access_key, secret_key = secrets.token_hex(10), secrets.token_hex(20)
    connection = {
        "conn_type": "aws",
        "login": access_key,
        "password": secret_key,
        "extra": {"endpoint_url": "http://s3:7070", "region_name": "eu-central-1"},
    }
    return {
        "KRAKEN_OUTPUT_DIR": f"./{OUTPUT_DIR}",
        # Files should belong to whoever tries this; root would be too powerful in the containers.
        "AIRFLOW_UID": str(os.getuid() or _IMAGE_USER),
        "AIRFLOW_GID": str(os.getgid()),
        "AIRFLOW_CONN_AWS_DEFAULT": f"'{json.dumps(connection, separators=(',', ':'))}'",
        "LOCAL_S3_ACCESS_KEY": access_key,
        "LOCAL_S3_SECRET_KEY": secret_key,
        "AIRFLOW_FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW_JWT_SECRET": secrets.token_hex(64),
        **{
            name: secrets.token_hex(24)
            for name in (
                "AIRFLOW_ADMIN_PASSWORD",
                "AIRFLOW_API_SECRET_KEY",
                "MONGO_PASSWORD",
                "MONGO_ROOT_PASSWORD",
                "MONGO_RW_PASSWORD",
                "POSTGRES_PASSWORD",
                "REDIS_PASSWORD",
            )
        },
    }


def fill(example: str, values: dict[str, str]) -> str:
    """Return ``example`` with each ``NAME=…`` line whose name is in ``values`` set to that value; comments stay."""
    lines = []
    for line in example.splitlines():
        name, equals, _ = line.partition("=")
        lines.append(f"{name}={values[name]}" if equals and name in values else line)
    return "\n".join(lines) + "\n"


def write_env(folder: Path) -> Path:
    """Write ``folder/.env``, readable for its owner only, and create the output folder.

    Raises:
        FileExistsError: There is a ``.env`` already.
    """
    text = fill((folder / ".env.example").read_text(encoding="utf-8"), generated_values())
    target = folder / ".env"
    # Created with its final mode: no moment in which others can read it.
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    output = folder / OUTPUT_DIR
    output.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:
        os.chown(output, _IMAGE_USER, 0)
    return target


if __name__ == "__main__":
    try:
        written = write_env(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    except FileExistsError as exists:
        sys.exit(f"make_env: {exists.filename} exists already and is left alone")
    sys.stdout.write(
        f"Wrote {written} with fresh secrets. Profile 'local': embedded MongoDB and S3, output in {OUTPUT_DIR}.\n"
        "The admin password is AIRFLOW_ADMIN_PASSWORD in it. For production edit it: .env.example explains all.\n"
    )
