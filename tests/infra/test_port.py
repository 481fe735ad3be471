"""A port that is held is nobody else's, whoever listens there and whoever does not."""

from __future__ import annotations

import errno
import socket

import pytest

from infra.port import free_port_for, hold, number_of


def test_a_held_port_is_given_to_nobody() -> None:
    """Neither a server that asks for it is given it, nor a client's connection."""
    with hold("127.0.0.1") as held, socket.socket() as other:
        with pytest.raises(OSError) as refused:
            other.bind(("127.0.0.1", number_of(held)))
        assert refused.value.errno == errno.EADDRINUSE


def test_the_server_it_is_held_for() -> None:
    """It listens there, stops, and listens there again."""
    with hold("127.0.0.1") as held:
        for _ in range(2):
            with socket.create_server(("127.0.0.1", number_of(held))):
                socket.create_connection(("127.0.0.1", number_of(held)), 1).close()


def test_a_port_is_free_again_after_its_owner() -> None:
    """What asked for it keeps it as long as it lives."""

    class Server:
        pass

    owner = Server()
    port = free_port_for(owner)
    with socket.socket() as other:
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        del owner
        other.bind(("127.0.0.1", port))
