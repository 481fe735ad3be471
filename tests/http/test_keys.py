"""API keys: what opens the door, and what stays outside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.http.serving import Web, assert_problem, function
from triggers.http.access.api_keys import KeyRefusedError
from triggers.http.access.guard import Policy
from triggers.http.access.keyring import Keyring


@pytest.fixture
def keyring(redis_url: str) -> Iterator[Keyring]:
    """The keys of the edge under test."""
    keyring = Keyring(redis_url)
    yield keyring
    keyring.close()


@pytest.fixture
def guarded(web: Web, keyring: Keyring, eventually: Callable[..., object]) -> Callable[..., dict[str, str]]:
    """`guarded("read", …)` makes a key, waits until the edge knows it, and returns the headers that show it."""
    web.deploy(function("any"), function("other"))

    def make(*scopes: str, name: str = "tester", expires_s: float | None = None) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {keyring.new(name, list(scopes), expires_s).token}"}
        eventually(lambda: len(web.keys.keys or {}) == len(keyring.all()))
        return headers

    return make


def test_everything_is_open_on_loopback_while_there_is_no_key(web: Web) -> None:
    """The first minutes need no ceremony."""
    web.deploy(function("any"))
    assert web.client.post("/v1/functions/any", json={}).status_code == 202
    assert web.client.get("/v1/audit").status_code == 200


def test_request_without_a_key_once_there_is_one(web: Web, guarded: Callable[..., dict[str, str]]) -> None:
    """The first key closes every door but the probes and the page; the answer says how to come in."""
    guarded("read")
    for method, path in (
        ("POST", "/v1/functions/any"),
        ("GET", "/v1/functions"),
        ("GET", "/openapi.json"),
        ("GET", "/metrics"),
    ):
        response = web.client.request(method, path)
        assert_problem(response, 401, "key-missing")
        assert response.headers["www-authenticate"] == 'Bearer realm="oncue"'
    assert [web.client.get(path).status_code for path in ("/healthz", "/readyz", "/docs", "/docs/page.js")] == [200] * 4


def test_unknown_function_without_a_key(web: Web, guarded: Callable[..., dict[str, str]]) -> None:
    """Who has no key does not learn which functions there are."""
    guarded("read")
    assert_problem(web.client.post("/v1/functions/nobody", json={}), 401, "key-missing")


@pytest.mark.parametrize(
    ("scope", "opened"),
    [
        ("invoke:any", {"POST /v1/functions/any"}),
        ("invoke:*", {"POST /v1/functions/any", "POST /v1/functions/other", "POST /v1/events"}),
        ("read", {"GET /v1/functions", "GET /v1/invocations", "GET /openapi.json", "GET /metrics"}),
        ("operate", {"GET /v1/audit", "POST /v1/invocations/default-01/cancel", "DELETE /v1/dead-letters"}),
        ("deploy", {"POST /v1/deployments"}),
    ],
)
def test_scope_opens_what_it_names_and_nothing_else(
    web: Web, guarded: Callable[..., dict[str, str]], scope: str, opened: set[str]
) -> None:
    """Each route needs one scope; another one answers 403 and names it."""
    headers = guarded(scope)
    routes = {
        *("POST /v1/functions/any", "POST /v1/functions/other", "POST /v1/events", "GET /v1/functions", "GET /v1/invocations"),
        *("GET /openapi.json", "GET /metrics", "GET /v1/audit", "POST /v1/invocations/default-01/cancel"),
        *("DELETE /v1/dead-letters", "POST /v1/deployments"),
    }
    found = set()
    for route in routes:
        method, path = route.split()
        response = web.client.request(method, path, headers=headers)
        if response.status_code == 403:
            assert 'error="insufficient_scope"' in response.headers["www-authenticate"]
        else:
            found.add(route)
    assert found == opened


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer x", "Bearer oncue_0000000000_" + "0" * 48, "Basic b25jdWU6eA==", "Bearer oncue_" + "é" * 20, "oncue"],
)
def test_token_that_is_none(web: Web, guarded: Callable[..., dict[str, str]], authorization: str) -> None:
    """Whatever is sent instead of a key is a 401 that tells nothing of the keys there are."""
    guarded("read")
    response = web.client.get("/v1/functions", headers={"Authorization": authorization.encode()})
    assert response.status_code == 401
    assert "tester" not in response.text


def test_right_id_with_a_wrong_secret(web: Web, guarded: Callable[..., dict[str, str]]) -> None:
    """The id is no secret, and opens nothing."""
    token = guarded("read")["Authorization"]
    wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
    assert_problem(web.client.get("/v1/functions", headers={"Authorization": wrong}), 401, "key-unknown")


def test_key_expires(web: Web, guarded: Callable[..., dict[str, str]], eventually: Callable[..., object]) -> None:
    """An expired key opens nothing, and does not open the door for everybody either."""
    headers = guarded("read", expires_s=0.3)
    eventually(lambda: web.client.get("/v1/functions", headers=headers).status_code == 401)
    assert_problem(web.client.get("/v1/functions", headers=headers), 401, "key-expired")
    assert_problem(web.client.get("/v1/functions"), 401, "key-missing")


def test_revoked_key(
    web: Web, guarded: Callable[..., dict[str, str]], keyring: Keyring, eventually: Callable[..., object]
) -> None:
    """The edge hears of a revocation at once: far sooner than it polls."""
    headers = guarded("read")
    guarded("read", name="another")
    (mine,) = [key.id for key in keyring.all() if key.name == "tester"]
    assert web.client.get("/v1/functions", headers=headers).status_code == 200
    begun = time.monotonic()
    assert keyring.revoke(mine)
    eventually(lambda: web.client.get("/v1/functions", headers=headers).status_code == 401)
    assert time.monotonic() - begun < 1.5
    assert not keyring.revoke(mine)


def test_two_keys_of_one_name_are_one_caller(web: Web, guarded: Callable[..., dict[str, str]]) -> None:
    """While a key is replaced, a repeat under the new one is still a repeat; another caller's is not."""
    old, new = guarded("invoke:any"), guarded("invoke:any")
    stranger = guarded("invoke:any", name="stranger")
    once = {"Idempotency-Key": "k"}
    first, second, third = (
        web.client.post("/v1/functions/any", json={}, headers={**each, **once}).json() for each in (old, new, stranger)
    )
    assert second == {**first, "duplicate": True}
    assert third["id"] != first["id"]


def test_third_live_key_of_a_name(keyring: Keyring) -> None:
    """Rotation needs two; a third is refused with the ids that could go. An expired one does not count."""
    keyring.new("ci", ["read"], 0.0)
    first, second = (keyring.new("ci", ["read"], None).key.id for _ in range(2))
    with pytest.raises(KeyRefusedError, match=rf"'ci' has 2 live keys \({first}, {second}\)|\({second}, {first}\)"):
        keyring.new("ci", ["read"], None)


@pytest.mark.parametrize(
    ("name", "scopes"),
    [("", ["read"]), ("a b", ["read"]), ("ci", []), ("ci", ["write"]), ("ci", ["invoke:"]), ("ci", ["invoke:a-b"])],
)
def test_key_that_cannot_be(keyring: Keyring, name: str, scopes: list[str]) -> None:
    """A misspelt scope would be a key that silently opens nothing."""
    with pytest.raises(KeyRefusedError):
        keyring.new(name, scopes, None)
    assert keyring.all() == []


def test_secret_is_not_kept(keyring: Keyring, redis_url: str) -> None:
    """Redis holds a digest; nothing in it gives the token."""
    import redis

    secret = keyring.new("ci", ["read"], None).token.rpartition("_")[2]
    with redis.Redis.from_url(redis_url) as connection:
        kept = b"".join(connection.hvals("oncue:keys"))
    assert secret.encode() not in kept


def test_address_open_to_others_without_a_key(start_web: Callable[..., Web], redis_url: str) -> None:
    """When the last key goes, an OnCue that others can reach closes; it does not open."""
    web = start_web(redis_url, policy=Policy(is_loopback=False))
    web.deploy(function("any"))
    assert_problem(web.client.post("/v1/functions/any", json={}), 401, "key-missing")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "10.0.0.1", "[::2]:80"]
)
def test_foreign_host_name_while_open(web: Web, host: str) -> None:
    """DNS rebinding: a page that has its own name point at this machine gets nothing, not even by GET."""
    web.deploy(function("any"))
    assert_problem(web.client.get("/v1/functions", headers={"Host": host}), 421, "unknown-host")
    assert_problem(web.client.post("/v1/functions/any", json={}, headers={"Host": host}), 421, "unknown-host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "127.9.9.9", "[::1]:80", "app.localhost"])
def test_own_host_name_while_open(web: Web, host: str) -> None:
    """Whatever means this machine is fine."""
    web.deploy(function("any"))
    assert web.client.get("/v1/functions", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_foreign_page_posts_while_open(web: Web, headers: dict[str, str]) -> None:
    """A page of another site cannot invoke anything on its visitor's machine."""
    web.deploy(function("any"))
    assert_problem(web.client.post("/v1/functions/any", json={}, headers=headers), 403, "cross-origin")
    assert web.worker.waiting() == 0


def test_own_page_posts_while_open(web: Web) -> None:
    """The page at /docs can try functions."""
    web.deploy(function("any"))
    headers = {"Origin": f"http://127.0.0.1:{web.port}", "Sec-Fetch-Site": "same-origin"}
    assert web.client.post("/v1/functions/any", json={}, headers=headers).status_code == 202


def test_listed_host_name_while_open(start_web: Callable[..., Web], redis_url: str) -> None:
    """A tunnel's name can be listed."""
    web = start_web(redis_url, policy=Policy(hosts=frozenset(["tunnel.example"])))
    web.deploy(function("any"))
    assert web.client.get("/v1/functions", headers={"Host": "tunnel.example"}).status_code == 200


def test_keys_that_are_not_yet_read(web: Web) -> None:
    """Nobody is let in for as long as it is not known whom to ask for a key."""
    web.deploy(function("any"))
    web.edge._guard._keys = lambda: None
    response: httpx.Response = web.client.post("/v1/functions/any", json={})
    assert_problem(response, 503, "ledger-unavailable")
