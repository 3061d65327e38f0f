"""The host has a module of this name."""


def copy_raw_file() -> None:
    """Do what the host does."""
