"""The host's names. In its image the two paths are fixed; here a test says where they are."""

import os

FALLBACK_PROJECT_ID = "_FALLBACK"


class EnvVars:
    """Names of environment variables."""

    ENV_NAME = "ENV_NAME"
    MONGO_HOST = "MONGO_HOST"
    MONGO_PORT = "MONGO_PORT"
    MONGO_USER = "MONGO_USER"
    MONGO_PASSWORD = "MONGO_PASSWORD"


class InternalPaths:
    """Folders in the containers."""

    MOUNTS_PATH = os.environ["HOST_MOUNTS"]
    ENVS_PATH = os.environ["HOST_ENVS"]
    OUTPUT = "output"
