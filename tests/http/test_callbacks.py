"""Callbacks: told once and signed, told again until heard, and never sent where they must not go."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import trustme
from standardwebhooks import Webhook

from runtime.authoring.triggers import HttpTrigger
from tests.http.serving import Web, assert_problem, function
from tests.http.signing import github
from triggers.http.callbacks.addresses import AllowList, is_public, literal

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """An HTTPS server that answers as it is told, and remembers what it was sent."""

    def __init__(self, folder: Path) -> None:
        self.answers: list[int] = []
        self.received: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.send_header("location", "https://127.0.0.1/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        self.authority_file = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.authority_file))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_address[1]}/told"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver whose certificate this process trusts."""
    receiver = Receiver(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(receiver.authority_file))
    yield receiver
    receiver.close()


@pytest.fixture
def calling_web(start_web: Callable[..., Web], redis_url: str, receiver: Receiver) -> Web:
    """An edge that may call the receiver, and tries again soon."""
    web = start_web(redis_url, callbacks=((SECRET,), ("localhost",)))
    web.deploy(function("any"))
    return web


def invoke(web: Web, url: str) -> str:
    response = web.client.post("/v1/functions/any", json={}, headers={"Oncue-Callback-Url": url})
    assert response.status_code == 202, response.text
    identity: str = response.json()["id"]
    return identity


def test_end_is_told_and_signed(calling_web: Web, receiver: Receiver, eventually: Callable[..., object]) -> None:
    """The `standardwebhooks` package accepts what is sent: the status document, under the invocation's id."""
    identity = invoke(calling_web, receiver.url)
    calling_web.worker.succeed(calling_web.worker.claim(), b'{"a":1}')
    eventually(lambda: receiver.received)
    headers, body = receiver.received[0]
    Webhook(SECRET).verify(body, headers)
    told = json.loads(body)
    assert headers["webhook-id"] == identity
    assert (told["type"], told["data"]["id"], told["data"]["status"]) == ("invocation.succeeded", identity, "succeeded")
    eventually(lambda: calling_web.waiting_callbacks() == 0)
    assert len(receiver.received) == 1
    told = callback_of(calling_web, identity)
    assert (told["host"], told["state"], told["tries"], told["answer"]) == ("localhost", "told", 1, 200)
    assert "/told" not in str(told)


def callback_of(web: Web, identity: str) -> dict[str, Any]:
    """What the status document says of a callback."""
    found: dict[str, Any] = web.client.get(f"/v1/invocations/{identity}").json()["callback"]
    return found


def test_callback_of_a_declared_route(
    start_web: Callable[..., Web], redis_url: str, receiver: Receiver, eventually: Callable[..., object]
) -> None:
    """Callers that are known may name one; where the body alone is signed, the header could be anybody's and counts for nothing."""
    web = start_web(redis_url, secrets={"S": "s"}, callbacks=((SECRET,), ("localhost",)))
    triggers = (
        HttpTrigger(method="POST", path="/open"),
        HttpTrigger(method="POST", path="/signed", verify="github", secret=("S",)),
    )
    web.deploy(function("any", triggers=triggers))
    named = {"Oncue-Callback-Url": receiver.url}
    opened = web.client.post("/open", json={}, headers=named).json()["id"]
    signed = web.client.post("/signed", content=b"{}", headers={**github(b"{}", "s"), **named}).json()["id"]
    for _ in range(2):
        web.worker.succeed(web.worker.claim())
    eventually(lambda: receiver.received)
    assert receiver.received[0][0]["webhook-id"] == opened
    assert "callback" not in web.client.get(f"/v1/invocations/{signed}").json()
    assert_problem(web.client.post("/open", json={}, headers={"Oncue-Callback-Url": "http://x"}), 400, "invalid-callback")


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_other_ends_are_told_too(calling_web: Web, receiver: Receiver, eventually: Callable[..., object], end: str) -> None:
    """A callback means "it is over", however it went."""
    identity = invoke(calling_web, receiver.url)
    if end == "failed":
        calling_web.worker.fail(calling_web.worker.claim())
    else:
        assert calling_web.client.post(f"/v1/invocations/{identity}/cancel").status_code == 202
    eventually(lambda: receiver.received)
    assert json.loads(receiver.received[0][1])["type"] == f"invocation.{end}"


def test_receiver_that_fails_is_told_again_under_the_same_id(
    calling_web: Web, receiver: Receiver, eventually: Callable[..., object]
) -> None:
    """Neither an error nor a redirect counts as heard; a redirect is not followed."""
    receiver.answers = [500, 302, 204]
    identity = invoke(calling_web, receiver.url)
    calling_web.worker.succeed(calling_web.worker.claim())
    eventually(lambda: len(receiver.received) == 3)
    assert {headers["webhook-id"] for headers, _ in receiver.received} == {identity}
    eventually(lambda: calling_web.waiting_callbacks() == 0)


def test_receiver_that_is_gone(calling_web: Web, receiver: Receiver, eventually: Callable[..., object]) -> None:
    """410 ends the tries."""
    receiver.answers = [410]
    identity = invoke(calling_web, receiver.url)
    assert callback_of(calling_web, identity)["state"] == "waiting"
    calling_web.worker.succeed(calling_web.worker.claim())
    eventually(lambda: receiver.received)
    eventually(lambda: calling_web.waiting_callbacks() == 0)
    assert len(receiver.received) == 1
    assert callback_of(calling_web, identity)["state"] == "gone"


def test_tries_come_to_an_end(calling_web: Web, receiver: Receiver, eventually: Callable[..., object]) -> None:
    """A receiver that never hears is given up, and nothing of it stays."""
    receiver.answers = [503] * 100
    identity = invoke(calling_web, receiver.url)
    calling_web.worker.succeed(calling_web.worker.claim())
    eventually(lambda: len(receiver.received) == 4)
    eventually(lambda: calling_web.waiting_callbacks() == 0)
    eventually(lambda: callback_of(calling_web, identity)["state"] == "given_up")
    told = callback_of(calling_web, identity)
    assert (told["tries"], told["answer"], told["reason"]) == (4, 503, "the answer was 503")


def test_name_that_leads_inside(
    start_web: Callable[..., Web], redis_url: str, receiver: Receiver, eventually: Callable[..., object]
) -> None:
    """A name is looked at when it is called: one that means this machine is not connected to unless it is listed."""
    web = start_web(redis_url, callbacks=((SECRET,), ()))
    web.deploy(function("any"))
    invoke(web, receiver.url)
    web.worker.succeed(web.worker.claim())
    eventually(lambda: web.waiting_callbacks() == 1)
    eventually(lambda: web.waiting_callbacks() == 0)
    assert receiver.received == []


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.org/", "ftp://example.org/", "//example.org/", "example.org", "https://", "https:///x", ""),
        *("https://user@example.org/", "https://user:pw@example.org/", "https://example.org/#x", "https://example.org:99999/"),
        *("https://127.0.0.1/", "https://127.1/", "https://0x7f000001/", "https://2130706433/", "https://0177.0.0.1/"),
        *("https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[64:ff9b::a00:1]/", "https://[2002:7f00:1::]/"),
        *(
            "https://10.0.0.1/",
            "https://169.254.169.254/latest",
            "https://100.64.0.1/",
            "https://[fd00::1]/",
            "https://[fe80::1]/",
        ),
        *("https://0.0.0.0/", "https://224.0.0.1/", "https://example.org/" + "x" * 2000),
    ],
)
def test_url_that_is_never_called(start_web: Callable[..., Web], redis_url: str, url: str) -> None:
    """It is refused when the invocation is asked for, and nothing is accepted."""
    web = start_web(redis_url, callbacks=((SECRET,), ()))
    web.deploy(function("any"))
    response = web.client.post("/v1/functions/any", json={}, headers={"Oncue-Callback-Url": url})
    assert_problem(response, 400, "invalid-callback")
    assert web.worker.waiting() == 0


def test_callback_without_a_secret(web: Web) -> None:
    """An unsigned callback could not be trusted by anybody: it is refused, and the answer names the setting."""
    web.deploy(function("any"))
    response = web.client.post("/v1/functions/any", json={}, headers={"Oncue-Callback-Url": "https://example.org/"})
    assert "ONCUE_SECRET_CALLBACKS" in assert_problem(response, 400, "invalid-callback")["detail"]


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.1.1", "100.64.0.1", "0.0.0.0", "255.255.255.255"),
        *("224.0.0.1", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fc00::1", "ff02::1", "2001:db8::1"),
        *("::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::10.0.0.1", "2002:a00:1::", "2002:7f00:1::1"),
        *("2001:0:4136:e378:8000:63bf:f5ff:fffe", "::ffff:0:10.0.0.1", "fec0::1"),
    ],
)
def test_address_that_is_not_public(address: str) -> None:
    """Inside, reserved, or carrying such an address inside."""
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"])
def test_address_that_is_public(address: str) -> None:
    """What the Internet reaches may be called."""
    assert is_public(ip_address(address))


def test_what_the_operator_lists() -> None:
    """By name, by address, or by network; and no more than that."""
    allowed = AllowList(("hooks.internal", "10.1.0.0/16", "fd00::7"))
    assert allowed.takes("HOOKS.internal.", ip_address("192.168.1.1"))
    assert allowed.takes("a.example", ip_address("10.1.2.3"))
    assert allowed.takes("a.example", ip_address("fd00::7"))
    assert not allowed.takes("not.hooks.internal", ip_address("192.168.1.1"))
    assert not allowed.takes("a.example", ip_address("10.2.0.1"))


def test_spellings_of_an_address() -> None:
    """What inet_aton would read is read alike; a name is none."""
    loopback = ip_address("127.0.0.1")
    assert {literal(each) for each in ("127.1", "0x7f.1", "2130706433", "0177.0.0.1", "127.0.0.1")} == {loopback}
    assert literal("example.org") is None
    assert literal("1.2.3.4.example") is None
