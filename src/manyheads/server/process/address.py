"""Where a server listens, checked before a model is loaded."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from ipaddress import ip_address

from manyheads.errors import ConfigError


@dataclass(frozen=True)
class Address:
    """An IP address and a port.

    Attributes:
        ip: The IP address.
        port: The port.
    """

    ip: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return ip_address(self.ip).is_loopback

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"http://[{self.ip}]:{self.port}" if ":" in self.ip else f"http://{self.ip}:{self.port}"


def free_address(host: str, port: int) -> Address:
    """Return the address of a host and a port that nobody uses.

    Workers share a port, which the system lets any two servers of one user do. A server that already has the port is
    therefore only found by asking for the port alone.

    Args:
        host: A name or an IP address.
        port: The port; 0 for any free one.

    Raises:
        ConfigError: there is no such host, or the port is in use or not allowed.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError, OverflowError):
        raise ConfigError(f"--host {host}: no such host; use an IP address of this machine") from None
    with socket.socket(family, kind, protocol) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have just ended do not count
        try:
            alone.bind(where)
            alone.listen()
        except OSError as error:
            raise ConfigError(_why_not(error, host, port)) from None
        ip, chosen = alone.getsockname()[:2]
    return Address(ip, chosen)


def check_reach(address: Address, key: str | None, public_without_key: bool) -> None:
    """Check that nobody else can use a server that has no key.

    Raises:
        ConfigError: other machines may reach it.
    """
    if key is None and not address.is_loopback and not public_without_key:
        raise ConfigError(
            f"--host {address.ip}: other machines may reach it, and there is no key; add --api-key-env NAME, "
            "or --public-without-key if they may use it"
        )


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port {port}: is in use on {host}; stop its server, or choose another port"
    if error.errno == errno.EACCES:
        return f"--port {port}: this user may not listen there; choose one above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host}: is no address of this machine; use one, or 0.0.0.0 for all"
    return f"--host {host}, --port {port}: cannot listen: {error.strerror}"
