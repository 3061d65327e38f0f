"""A link with a limited rate: a network namespace behind a veth pair, shaped by a token bucket.

The limit holds for all connections together, as a real line's does (nginx's ``limit_rate`` is for each connection).
"""

from __future__ import annotations

import os
import subprocess
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

_CLIENT_ADDRESS = "198.18.213.1"  # 198.18.0.0/15 is reserved for benchmarks of network devices (RFC 2544)
_SERVER_ADDRESS = "198.18.213.2"
_BURST = "256kb"
_LATENCY = "20ms"


class ShapedLink:
    """A namespace whose sending is limited, from ``with`` to the end of it; needs root and iproute2.

    Args:
        mb_s: 10^6 bytes per second on the wire, headers included.

    """

    def __init__(self, mb_s: int) -> None:
        self._mb_s = mb_s
        self._name = f"bench{os.getpid()}"

    @property
    def address(self) -> str:
        """Where a server in the namespace listens."""
        return _SERVER_ADDRESS

    @property
    def prefix(self) -> tuple[str, ...]:
        """Starts a command in the namespace."""
        return ("ip", "netns", "exec", self._name)

    def __enter__(self) -> Self:
        name, outside, inside = self._name, f"vo{os.getpid()}", f"vi{os.getpid()}"
        try:
            _run(f"ip netns add {name}")
            _run(f"ip link add {outside} type veth peer name {inside} netns {name}")
            _run(f"ip address add {_CLIENT_ADDRESS}/30 dev {outside}")
            _run(f"ip link set {outside} up")
            _run(f"ip -n {name} address add {_SERVER_ADDRESS}/30 dev {inside}")
            _run(f"ip -n {name} link set {inside} up")
            rate = f"rate {self._mb_s * 8}mbit burst {_BURST} latency {_LATENCY}"
            _run(f"tc -n {name} qdisc add dev {inside} root tbf {rate}")
        except RuntimeError:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(["ip", "netns", "delete", self._name], check=False, capture_output=True)


def _run(command: str) -> None:
    try:
        subprocess.run(command.split(), check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise RuntimeError("a shaped link needs iproute2; `make bench-setup` as root installs it") from None
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"a shaped link needs root: `{command}` said {error.stderr.strip()!r}") from None
