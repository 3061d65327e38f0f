"""STORES.md says what these versions really answer."""

from tests.stores import table
from tests.stores.capabilities import Capabilities
from tests.stores.servers import Store


def test_the_document_says_what_is_seen(store: Store, seen: Capabilities):
    heading = table.heading(store.name)
    documented = table.documented()
    again = ".venv/bin/python -m tests.stores writes the table anew"
    assert heading in documented, f"another version than in {table.DOCUMENT.name}: {again}"
    assert documented[heading] == table.column(seen), again
