"""The host's keys."""


class Dags:
    """DAG ids of the host."""

    ACQUISITION_HANDLER = "acquisition_handler"
