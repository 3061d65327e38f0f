"""Child processes that are forked from one that has imported what they need, which takes seconds."""

import multiprocessing
import os
from multiprocessing.context import ForkServerContext
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]


def fork_server(preloaded: str) -> ForkServerContext:
    """The context whose processes are forked from a server that has imported a module."""
    # pytest's own search path is not inherited by the server.
    source = _REPOSITORY / "airflow_src"
    paths = [str(path) for path in (_REPOSITORY, source / "dags", source / "plugins")]
    known = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join([*known, *(path for path in paths if path not in known)])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preloaded])
    return context
