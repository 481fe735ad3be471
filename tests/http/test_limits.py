"""Rate limits: counted over all web processes, told in headers, and the audit that notes who was refused."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network

import pytest

from runtime.authoring.quantities import Rate, read_rate
from runtime.ledger.keys import EDGE, QueueKeys
from runtime.ledger.reads import Reads
from tests.http.serving import Web, assert_problem, function
from triggers.http.access.audit import Audit
from triggers.http.access.callers import Caller, address_of
from triggers.http.access.guard import Policy
from triggers.http.access.keyring import Keyring
from triggers.http.access.limits import Limiter
from triggers.http.exchange import Exchange

QUICK = Rate(20, 60)


@pytest.fixture
def keyring(redis_url: str) -> Iterator[Keyring]:
    """Keys that are there before the edge starts."""
    keyring = Keyring(redis_url)
    yield keyring
    keyring.close()


@pytest.fixture
def bearer(keyring: Keyring) -> dict[str, str]:
    """The headers of a key that opens everything."""
    token = keyring.new("tester", ["invoke:*", "read", "operate"], None).token
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def limited(start_web: Callable[..., Web], redis_url: str, bearer: dict[str, str]) -> Web:
    """An edge that takes twenty requests a minute, and three that fail to authenticate."""
    web = start_web(redis_url, policy=Policy(rate=QUICK, failures=Rate(3, 60)))
    web.deploy(function("any"), function("other"))
    return web


@pytest.fixture
def audited(start_web: Callable[..., Web], redis_url: str, bearer: dict[str, str]) -> Web:
    """An edge with a key that nobody slows down."""
    web = start_web(redis_url)
    web.deploy(function("any"))
    return web


def post(web: Web, headers: dict[str, str], name: str = "any") -> int:
    return web.client.post(f"/v1/functions/{name}", json={}, headers=headers).status_code


def test_requests_beyond_the_rate(limited: Web, bearer: dict[str, str]) -> None:
    """Exactly the quota is let in; the answer says when to come again, and nothing was accepted beyond."""
    assert Counter(post(limited, bearer) for _ in range(25)) == {202: 20, 429: 5}
    response = limited.client.post("/v1/functions/any", json={}, headers=bearer)
    assert_problem(response, 429, "rate-limited")
    assert 1 <= int(response.headers["retry-after"]) <= 3
    assert response.headers["ratelimit-policy"] == '"default";q=20;w=60'
    assert response.headers["ratelimit"].startswith('"default";r=0;t=')
    assert limited.worker.waiting() == 20


def test_requests_that_come_at_once(limited: Web, bearer: dict[str, str]) -> None:
    """Concurrency buys nothing: a hundred at once are still twenty."""
    with ThreadPoolExecutor(16) as pool:
        statuses = Counter(pool.map(lambda _: post(limited, bearer), range(100)))
    assert statuses == {202: 20, 429: 80}


def test_two_web_processes_share_a_rate(limited: Web, start_web: Callable[..., Web], bearer: dict[str, str]) -> None:
    """The bucket is in Redis: more processes are not more requests."""
    second = start_web(limited.redis_url, policy=limited.policy)
    second.deploy(function("any"), function("other"))
    statuses = Counter(post(web, bearer) for _ in range(15) for web in (limited, second))
    assert statuses == {202: 20, 429: 10}


def test_each_function_and_each_caller_has_a_bucket(
    limited: Web, bearer: dict[str, str], keyring: Keyring, eventually: Callable[..., object]
) -> None:
    """One function's flood leaves the others free, and one caller's flood the other callers."""
    for _ in range(21):
        post(limited, bearer)
    assert post(limited, bearer) == 429
    assert post(limited, bearer, "other") == 202
    stranger = {"Authorization": f"Bearer {keyring.new('stranger', ['invoke:*'], None).token}"}
    eventually(lambda: post(limited, stranger) == 202)


def test_what_is_left_is_told(limited: Web, bearer: dict[str, str]) -> None:
    """Every answer says how many requests remain."""
    answers = [limited.client.post("/v1/functions/any", json={}, headers=bearer).headers["ratelimit"] for _ in range(3)]
    assert [answer.split(";")[1] for answer in answers] == ["r=19", "r=18", "r=17"]


def test_next_tokens_are_fetched_before_the_last_are_gone(redis_url: str) -> None:
    """Only the first of many requests waits for Redis; those that hold to the rate find a token at hand from then on."""

    async def take_hundreds() -> int:
        reads = Reads(redis_url)
        limiter = Limiter(reads, Rate(1000, 1), "default")
        waits = 0
        for _ in range(200):
            headers = limiter.take("tester", "any")
            if not isinstance(headers, list):
                waits += 1
                await headers
            await reads.do("PING")  # Redis has answered whatever was asked before
            await asyncio.sleep(0)
        await reads.close()
        return waits

    assert asyncio.run(take_hundreds()) == 1


def test_tokens_at_hand_lapse(redis_url: str) -> None:
    """What a process took and did not hand out within the window is gone: it cannot be spent on top of a later window's rate."""

    async def take_twice(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
        reads, loop = Reads(redis_url), asyncio.get_running_loop()
        limiter, left = Limiter(reads, Rate(100, 60), "default"), []
        for now in (loop.time, lambda clock=loop.time: clock() + 60):
            monkeypatch.setattr(loop, "time", now)
            answer = limiter.take("tester", "any")
            headers = answer if isinstance(answer, list) else await answer
            left.append(dict(headers)[b"ratelimit"].split(b";")[1])
        await reads.close()
        return left

    with pytest.MonkeyPatch.context() as monkeypatch:
        assert asyncio.run(take_twice(monkeypatch)) == [b"r=99", b"r=94"]  # five were taken each time, and four lapsed


def test_failures_to_authenticate_have_a_bucket_of_their_own(limited: Web, bearer: dict[str, str]) -> None:
    """Guessing is slowed down by address, while a good key from there still works."""
    wrong = {"Authorization": "Bearer oncue_0000000000_" + "0" * 48}
    assert [post(limited, wrong) for _ in range(5)] == [401, 401, 401, 429, 429]
    assert post(limited, bearer) == 202


def test_no_limit_while_there_is_no_key(start_web: Callable[..., Web], redis_url: str) -> None:
    """Whoever works on this machine is not slowed down."""
    web = start_web(redis_url, policy=Policy(rate=Rate(2, 60)))
    web.deploy(function("any"))
    assert [post(web, {}) for _ in range(4)] == [202] * 4


@pytest.mark.parametrize(
    ("text", "rate"),
    [("1000/s", Rate(1000, 1)), ("600/m", Rate(600, 60)), ("5/30s", Rate(5, 30)), ("9/h", Rate(9, 3600)), ("off", None)],
)
def test_rate_as_people_write_it(text: str, rate: Rate | None) -> None:
    """Rates are read in one way."""
    assert read_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0/s", "10", "10/", "10/d", "-1/s", "1.5/s", "10 / s", "1/0s"])
def test_rate_that_is_none(text: str) -> None:
    """What is no rate says how one is written."""
    with pytest.raises(ValueError, match="1000/s"):
        read_rate(text)


PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", b"198.51.100.1", "203.0.113.9"),
        ("10.1.1.1", b"198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", b"6.6.6.6, 198.51.100.1, 10.2.2.2", "198.51.100.1"),
        ("10.1.1.1", b"10.3.3.3", "10.1.1.1"),
        ("10.1.1.1", b"nonsense", "unknown"),
        ("::ffff:10.1.1.1", b"198.51.100.1", "198.51.100.1"),
        ("fd00::1", b"2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("10.1.1.1", None, "10.1.1.1"),
    ],
)
def test_address_behind_proxies(peer: str, forwarded: bytes | None, address: str) -> None:
    """Only listed proxies are believed, from the nearest one on; what a caller wrote itself counts for nothing."""
    assert address_of(peer, forwarded, PROXIES) == address


def test_forwarded_address_without_proxies() -> None:
    """By default nobody is believed."""
    assert address_of("203.0.113.9", b"198.51.100.1", ()) == "203.0.113.9"


def test_audit_of_what_was_let_in_and_what_was_not(
    audited: Web, bearer: dict[str, str], keyring: Keyring, eventually: Callable[..., object]
) -> None:
    """It names who, which key, what, and how it ended; of the body only its digest, of the token nothing."""
    sent = {**bearer, "X-Request-Id": "mine"}
    json = {**sent, "Content-Type": "application/json"}
    audited.client.post("/v1/functions/any?delay=1", content=b'{"password":"hunter2"}', headers=json)
    audited.client.post("/v1/functions/any", headers={"Authorization": "Bearer oncue_secretish"})
    page = eventually(
        lambda: (found := audited.client.get("/v1/audit", headers=bearer).json()) and len(found["entries"]) == 2 and found
    )
    refused, allowed = page["entries"]
    (key,) = keyring.all()
    assert allowed == {
        "at": allowed["at"],
        "who": "tester",
        "key": key.id,
        "address": "127.0.0.1",
        "method": "POST",
        "route": "/v1/functions/any",
        "status": 202,
        "decision": "allowed",
        "request_id": "mine",
        "body": hashlib.sha256(b'{"password":"hunter2"}').hexdigest(),
    }
    assert (refused["who"], refused["status"], refused["decision"]) == ("", 401, "refused")
    assert "hunter2" not in str(page)
    assert "secretish" not in str(page)


def test_pages_of_the_audit(audited: Web, bearer: dict[str, str], eventually: Callable[..., object]) -> None:
    """Pages follow each other without a gap, newest first."""
    for number in range(5):
        audited.client.post("/v1/functions/any", json={}, headers={**bearer, "X-Request-Id": f"r{number}"})
    eventually(lambda: len(audited.client.get("/v1/audit", headers=bearer).json()["entries"]) == 5)
    found, cursor = [], ""
    while cursor is not None:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = audited.client.get("/v1/audit", params=query, headers=bearer).json()
        found += [entry["request_id"] for entry in page["entries"]]
        cursor = page["next"]
    assert found == ["r4", "r3", "r2", "r1", "r0"]


def test_audit_under_more_load_than_one_write_takes(redis_url: str) -> None:
    """What 18,000 requests a moment leave behind is written within three seconds, and nothing is dropped."""

    async def note_many() -> int:
        reads = Reads(redis_url)
        audit = Audit(reads)
        scope = {"method": "POST", "path": "/v1/functions/any", "http_version": "1.0", "headers": []}
        exchange = Exchange(scope, _unused, _unused)
        exchange.caller, exchange.status, exchange.is_noted = Caller("tester", "k", "127.0.0.1"), 202, True
        for _ in range(18_000):
            audit.note(exchange)
        ends = time.monotonic() + 3
        while (written := 32 * await reads.do("XLEN", QueueKeys(EDGE).audit)) < 18_000 and time.monotonic() < ends:
            pass  # each look takes a round trip, in which the audit gets on
        await audit.close()
        await reads.close()
        return written

    assert asyncio.run(note_many()) >= 18_000


async def _unused(*_: object) -> None:
    raise AssertionError("nobody reads or answers here")
