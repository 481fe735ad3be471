"""The web process's port, as the supervisor sees it: free before the start, answering after it."""

from __future__ import annotations

import errno
import http.client
import socket

from infra.settings import Settings
from runtime.authoring.errors import OnCueError

_CURES = {
    errno.EADDRINUSE: "stop what listens there, or set ONCUE_PORT",
    errno.EACCES: "set ONCUE_PORT to 1024 or more; the ones below are root's",
}


class PortError(OnCueError):
    """Nothing can listen at the address."""


def with_free_port(settings: Settings) -> Settings:
    """Check that the port can be bound, so that one sentence says so; port 0 becomes a free one.

    Raises:
        PortError: it is taken, or the address is not this machine's.
    """
    host, port = settings.host, settings.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            cure = _CURES.get(error.errno or 0, "set ONCUE_HOST to an address of this machine")
            raise PortError(f"{host}:{port} cannot be bound ({error.strerror}); {cure}") from error
        return settings.model_copy(update={"port": probe.getsockname()[1]})


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
