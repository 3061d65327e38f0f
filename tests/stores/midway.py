"""A fault of the proxy: somebody does something to the store between two requests of a restore."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.fault_rules import Action, Edit, Request


@dataclass(frozen=True)
class Before(Action):
    """Do something before the server gets the request."""

    do: Callable[[], Any]

    def on_request(self, request: Request) -> Edit:
        return lambda plan: self.do()
