"""Asks all servers that are installed and writes what they said into design_docs/STORES.md.

.venv/bin/python -m tests.stores
"""

import tempfile
from pathlib import Path

from tests.stores import table
from tests.stores.capabilities import capabilities_of
from tests.stores.servers import STORES


def main() -> None:
    """Ask each, one after the other."""
    columns = {}
    for name, kind in STORES.items():
        if why := kind.missing():
            print(f"{name}: not asked, {why}")  # noqa: T201
            continue
        with tempfile.TemporaryDirectory(prefix="kraken-store-") as folder, kind(Path(folder)) as store:
            columns[table.heading(name)] = table.column(capabilities_of(store))
        print(f"{table.heading(name)}: asked")  # noqa: T201
    table.write(columns)


if __name__ == "__main__":
    main()
