"""Amazon SNS: messages signed by a certificate, which is fetched from Amazon's hosts only."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.http.signing import NOW, check
from triggers.http.answers import ProblemError
from triggers.http.signatures import RefusedError
from triggers.http.signatures import certificates as fetching
from triggers.http.signatures.certificates import Certificates

TOPIC = "arn:aws:sns:us-east-1:123456789012:orders"
HOST = "https://sns.us-east-1.amazonaws.com"
CERTIFICATE_URL = f"{HOST}/SimpleNotificationService-0123.pem"
KEY = rsa.generate_private_key(65537, 2048)


def certificate(key: Any) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    return builder.not_valid_before(now).not_valid_after(now + timedelta(1)).sign(key, SHA256()).public_bytes(Encoding.PEM)


PEM = certificate(KEY)


class Amazon:
    """Answers in Amazon's place; `asked` are the URLs that were fetched."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response] | None = None) -> None:
        self.asked: list[str] = []
        self._answer = answer or (lambda _: httpx.Response(200, content=PEM))
        self.certificates = Certificates(httpx.MockTransport(self._serve))

    def _serve(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        return self._answer(request)


def message(kind: str = "Notification", version: str = "2", at: float = NOW, key: Any = KEY, **changes: Any) -> bytes:
    """A signed message; `changes` are made before it is signed, or after it when their name begins with an underscore."""
    fields: dict[str, Any] = {
        "Type": kind,
        "MessageId": "22b80b92",
        "TopicArn": TOPIC,
        "Message": '{"order": 1}',
        "Timestamp": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
    }
    if kind != "Notification":
        fields |= {"Token": "t", "SubscribeURL": f"{HOST}/?Action=ConfirmSubscription&Token=t"}
    fields |= {name: value for name, value in changes.items() if not name.startswith("_")}
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{fields[name]}\n" for name in names if fields.get(name) is not None)
    digest = SHA256() if version == "2" else SHA1()  # version 1 of Amazon's signatures
    fields["Signature"] = base64.b64encode(key.sign(text.encode(), padding.PKCS1v15(), digest)).decode()
    fields |= {name[1:]: value for name, value in changes.items() if name.startswith("_")}
    return json.dumps(fields).encode()


def sns(body: bytes, amazon: Amazon | None = None, **more: Any) -> Any:
    return check("sns", {}, body, topics=(TOPIC,), certificates=(amazon or Amazon()).certificates, **more)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [{}, {"Subject": "Hi"}, {"Subject": None}])
def test_notification(version: str, subject: dict[str, Any]) -> None:
    """Both versions of signatures are taken; the message's id tells repeats, and its JSON is read whatever its type says."""
    body = message(version=version, **subject)
    verified = sns(body)
    assert (verified.delivery, verified.document) == ("22b80b92", body)


def test_certificate_is_fetched_once() -> None:
    """A certificate is kept by its URL."""
    amazon = Amazon()
    for _ in range(3):
        sns(message(), amazon)
    assert amazon.asked == [CERTIFICATE_URL]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"Type": "Notification"}',
        b'{"Type": ["Notification"], "SignatureVersion": "1"}',
        message(_Message="other"),
        message(_Subject="added"),
        message(_TopicArn=TOPIC + "2"),
        message(TopicArn=TOPIC + "2"),
        message(_Signature="%%%"),
        message(_Signature=None),
        message(_SignatureVersion="1"),
        message(_SignatureVersion="3"),
        message(_SignatureVersion=2),
        message(_MessageId=5),
        message(_Type="UnsubscribeConfirmation"),
    ],
)
def test_message_that_is_not_signed_by_amazon(body: bytes) -> None:
    """What is changed, incomplete or of another topic is refused."""
    with pytest.raises(RefusedError):
        sns(body)


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com.evil.example/a.pem",
        "https://evil.example/sns.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com@evil.example/a.pem",
        "https://sns.us-east-1.amazonaws.com\\@evil.example/a.pem",
        "https://evil.example#sns.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com:8443/a.pem",
        "https://sns.us-east-1.amazonaws.com:x/a.pem",
        "https://sns.s3-us-west-2.amazonaws.com/a.pem",
        "https://xsns.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com/a.txt",
        "https://sns.us-east-1.amazonaws.com/?a.pem",
        "https://169.254.169.254/a.pem",
        "file:///etc/passwd.pem",
        "",
        None,
        ["x"],
    ],
)
def test_certificate_that_is_not_amazons(url: Any) -> None:
    """Only Amazon's own hosts are asked; nothing is fetched from elsewhere."""
    amazon = Amazon()
    with pytest.raises(RefusedError):
        sns(message(_SigningCertURL=url), amazon)
    assert amazon.asked == []


@pytest.mark.parametrize(
    "url",
    [f"{HOST}:443/a.pem", "https://sns.cn-north-1.amazonaws.com.cn/a.pem", "https://sns.us-gov-west-1.amazonaws.com/a.pem"],
)
def test_certificate_of_another_region(url: str) -> None:
    """Every partition's hosts are Amazon's."""
    assert sns(message(_SigningCertURL=url)).delivery


def test_stale_message() -> None:
    """A message is refused once its id may be forgotten."""
    assert sns(message(at=NOW - 80_000)).delivery
    for at in (NOW - 90_000, NOW + 400):
        with pytest.raises(RefusedError) as refused:
            sns(message(at=at))
        assert refused.value.code == "timestamp-out-of-tolerance"


def test_confirmation_is_opened_only_where_the_route_says_so() -> None:
    """`confirm=True` opens the link of a verified message; else the topic's owner does."""
    amazon = Amazon()
    body = message("SubscriptionConfirmation")
    answer = sns(body, amazon).answer
    assert (answer.status, answer.body) == (200, b'{"ignored":true}')
    assert amazon.asked == [CERTIFICATE_URL]
    answer = sns(body, amazon, confirm=True).answer
    assert json.loads(answer.body) == {"confirmed": TOPIC}
    assert amazon.asked[1:] == [f"{HOST}/?Action=ConfirmSubscription&Token=t"]


def test_confirmation_that_leads_elsewhere() -> None:
    """Even a signed link is opened at Amazon's only."""
    amazon = Amazon()
    with pytest.raises(RefusedError):
        sns(message("SubscriptionConfirmation", SubscribeURL="https://169.254.169.254/"), amazon, confirm=True)
    assert amazon.asked == [CERTIFICATE_URL]


def test_unsubscription_runs_nothing() -> None:
    """The end of a subscription is noted and answered."""
    assert sns(message("UnsubscribeConfirmation"), confirm=True).answer.status == 200


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(302, headers={"location": "http://169.254.169.254/"}),
        httpx.Response(200, content=b"x" * (fetching.MAX_BYTES + 1)),
    ],
    ids=["error", "redirect", "flood"],
)
def test_certificate_that_cannot_be_fetched(answer: httpx.Response) -> None:
    """Amazon is asked to come again; redirects are not followed, and no flood is read."""
    amazon = Amazon(lambda _: httpx.Response(answer.status_code, headers=answer.headers, content=answer.content))
    with pytest.raises(ProblemError) as problem:
        sns(message(), amazon)
    assert problem.value.status == 503
    assert len(amazon.asked) == 1


@pytest.mark.parametrize(
    "pem", [b"", b"nonsense", certificate(ec.generate_private_key(ec.SECP256R1()))], ids=["empty", "text", "ec"]
)
def test_certificate_that_is_none(pem: bytes) -> None:
    """What is no RSA certificate verifies nothing."""
    with pytest.raises(RefusedError):
        sns(message(), Amazon(lambda _: httpx.Response(200, content=pem)))


def test_host_at_a_private_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads inside is not asked, whoever it belongs to."""

    async def resolve(self: object, host: str, *_: object, **__: object) -> list[Any]:
        return [(2, 1, 6, "", ("8.8.8.8", 443)), (2, 1, 6, "", ("127.0.0.1", 443))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    with pytest.raises(ProblemError) as problem:
        check("sns", {}, message(), topics=(TOPIC,), certificates=Certificates())
    assert (problem.value.status, isinstance(problem.value.__cause__, OSError)) == (503, True)
