"""Ports of processes that are started: free before the start, kept for them while they are down, answering after it."""

from __future__ import annotations

import errno
import http.client
import socket
import weakref

from infra.settings import Settings
from runtime.authoring.errors import OnCueError

_CURES = {
    errno.EADDRINUSE: "stop what listens there, or set ONCUE_PORT",
    errno.EACCES: "set ONCUE_PORT to 1024 or more; the ones below are root's",
}


class PortError(OnCueError):
    """Nothing can listen at the address."""


def hold(host: str, port: int = 0) -> socket.socket:
    """Bind a port and keep it until the socket is closed: nobody is given it, and a server with SO_REUSEADDR can listen there.

    Port 0 becomes a free one. That Linux lets two sockets bind one port as long as one of them listens is told in socket(7).

    Raises:
        PortError: it is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held = socket.socket(family, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((host, port))
    except OSError as error:
        held.close()
        cure = _CURES.get(error.errno or 0, "set ONCUE_HOST to an address of this machine")
        raise PortError(f"{host}:{port} cannot be bound ({error.strerror}); {cure}") from error
    return held


def number_of(held: socket.socket) -> int:
    """Return the number of the port that a socket holds."""
    number: int = held.getsockname()[1]
    return number


def free_port_for(owner: object) -> int:
    """Return a free port of the loopback interface that is nobody else's while `owner` lives."""
    held = hold("127.0.0.1")
    weakref.finalize(owner, held.close)
    return number_of(held)


def is_ready(settings: Settings) -> bool:
    """Tell whether the web process serves. Blocks for half a second at most."""
    connection = http.client.HTTPConnection(settings.host, settings.port, timeout=0.5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
