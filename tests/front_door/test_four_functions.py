"""The four functions of functions/, as a person with curl and the command line meets them."""

from __future__ import annotations

import email
import email.policy
import io
import json
import os
import socket
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pypdf
import pytest
from aiosmtpd.controller import Controller
from PIL import Image, ImageDraw

from tests.running import Eventually, OnCue, start

FUNCTIONS = Path(__file__).parents[2] / "functions"


class Sink:
    """A real SMTP server that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.recipients: list[list[str]] = []

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:  # noqa: N802  # aiosmtpd's name
        self.messages.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        self.recipients.append(envelope.rcpt_tos)
        return "250 kept"


class _Server(Controller):
    """A server on a free port; the stock probe of its readiness would knock at port 0."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        socket.create_connection((self.hostname, self.port)).close()


@pytest.fixture(scope="module")
def sink() -> Iterator[tuple[Sink, str]]:
    """The sink and its URL."""
    sink = Sink()
    controller = _Server(sink, hostname="127.0.0.1", port=0)
    controller.start()
    yield sink, f"smtp://127.0.0.1:{controller.port}"
    controller.stop()


@pytest.fixture(scope="module")
def oncue(tmp_path_factory: pytest.TempPathFactory, sink: tuple[Sink, str]) -> Iterator[OnCue]:
    """`oncue up` over the shipped folders, with the sink as its mail server."""
    folder = tmp_path_factory.mktemp("shipped")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")}
    mail = {"ONCUE_SECRET_SMTP_URL": f"{sink[1]}?starttls=never"}
    oncue = start({**kept, **mail, "ONCUE_PORT": "0", "ONCUE_FUNCTIONS": str(FUNCTIONS)}, folder)
    yield oncue
    assert oncue.up.stop() == 0


@pytest.fixture(scope="module")
def http(oncue: OnCue) -> Iterator[httpx.Client]:
    """A client that waits for results."""
    with httpx.Client(base_url=oncue.url, headers={"Prefer": "wait=60"}, timeout=90) as client:
        yield client


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 12 MP JPEG as a phone takes it upright: stored lying, with EXIF orientation 6; red is up when it is shown."""
    upright = Image.effect_noise((3000, 4000), 40).convert("RGB")
    ImageDraw.Draw(upright).rectangle((0, 0, 3000, 1000), fill="red")
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    upright.transpose(Image.Transpose.ROTATE_90).save(path, quality=90, exif=exif)
    return path


def is_upright(content: bytes, width: int) -> bool:
    """Tell whether a thumbnail shows the photo upright: red above, grey below, no EXIF left."""
    picture = Image.open(io.BytesIO(content))
    assert picture.size == (width, width * 4 // 3)
    assert not picture.getexif()
    red, green, _ = picture.convert("RGB").getpixel((width // 2, width // 6))  # type: ignore[misc]  # three bands
    r, g, _ = picture.convert("RGB").getpixel((width // 2, width))  # type: ignore[misc]  # as above
    return red > 200 and green < 60 and abs(r - g) < 40


def test_every_folder_serves(oncue: OnCue, eventually: Eventually) -> None:
    """None of the four is quarantined, and each is printed with its URL."""
    for name in ("profanity_check", "report_pdf", "send_email", "thumbnail"):
        eventually(lambda name=name: oncue.up.has(f"{oncue.url}/v1/functions/{name}"), 30)
    assert not oncue.up.has("✗")


def test_thumbnail_by_http(http: httpx.Client, photo: Path) -> None:
    """A raw 12 MP JPEG with EXIF rotation comes back small, upright and as an image."""
    answer = http.post("/v1/functions/thumbnail?width=300", content=photo.read_bytes(), headers={"content-type": "image/jpeg"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg"), answer.text
    assert is_upright(answer.content, 300)


def test_thumbnail_of_a_picture_with_a_wrong_name(http: httpx.Client) -> None:
    """What the sender calls it does not matter: a PNG that is said to be a JPEG, or bytes, is a PNG."""
    png = io.BytesIO()
    Image.new("RGB", (80, 40), "red").save(png, "PNG")
    for media_type in ("image/jpeg", "application/octet-stream"):
        answer = http.post("/v1/functions/thumbnail", content=png.getvalue(), headers={"content-type": media_type})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png"), answer.text


def test_thumbnail_by_cli(oncue: OnCue, photo: Path, tmp_path: Path) -> None:
    """The same through `oncue invoke`, with the picture in a file."""
    small = tmp_path / "small.jpg"
    done = oncue.run("invoke", "thumbnail", f"image=@{photo}", "width=300", "--wait", "-o", str(small))
    assert done.returncode == 0, done.stderr
    assert is_upright(small.read_bytes(), 300)


def test_profanity_check_by_http(http: httpx.Client) -> None:
    """A profane text is found and masked; an innocent one that holds profane letters passes."""
    profane = http.post("/v1/functions/profanity_check", json={"text": "What the f.u.c.k is this sh1t?"}).json()
    assert not profane["clean"]
    assert len(profane["matches"]) == 2
    assert "sh1t" not in profane["masked"]
    innocent = http.post("/v1/functions/profanity_check", json={"text": "A Scunthorpe assassin drinks a cocktail."}).json()
    assert innocent["clean"], innocent


def test_profanity_check_by_cli(oncue: OnCue) -> None:
    """The same through `oncue invoke`, as JSON on standard output."""
    done = oncue.run("invoke", "profanity_check", "text=you bitch", "--wait")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["masked"] == "you *****"


def report(http: httpx.Client) -> bytes:
    """Ask for the report of the sample event."""
    event = json.loads((FUNCTIONS / "report_pdf" / "events" / "sales.json").read_text())
    answer = http.post("/v1/functions/report_pdf", json=event)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf"), answer.text
    return answer.content


def test_report_pdf_by_http(http: httpx.Client) -> None:
    """Rows of JSON become a PDF whose table can be read back, and the same rows become the same bytes."""
    content = report(http)
    text = "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages)
    assert "Sales, first quarter" in text
    assert "South" in text
    assert report(http) == content


def test_report_pdf_by_cli(oncue: OnCue, tmp_path: Path) -> None:
    """A sample event from a file through `oncue invoke`."""
    target = tmp_path / "report.pdf"
    event = FUNCTIONS / "report_pdf" / "events" / "sales.json"
    done = oncue.run("invoke", "report_pdf", f"@{event}", "--wait", "-o", str(target))
    assert done.returncode == 0, done.stderr
    assert len(pypdf.PdfReader(target).pages) >= 1


def test_send_email_by_http(http: httpx.Client, sink: tuple[Sink, str]) -> None:
    """A mail with an attachment arrives at a real SMTP server, and the attachment's bytes are what was sent."""
    answer = http.post(
        "/v1/functions/send_email",
        json={
            "to": ["ada@example.com", "grace@example.com"],
            "subject": "The report — Übersicht",
            "text": "See the attachment.",
            "attachments": [{"filename": "notes.txt", "content": "aGVsbG8=", "media_type": "text/plain"}],
        },
    )
    assert answer.status_code == 200, answer.text
    result = answer.json()
    message = next(m for m in sink[0].messages if m["message-id"] == result["message_id"])
    assert result["accepted"] == ["ada@example.com", "grace@example.com"]
    assert message["subject"] == "The report — Übersicht"
    (attachment,) = message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content().strip()) == ("notes.txt", "hello")


def test_send_email_by_cli(oncue: OnCue, sink: tuple[Sink, str]) -> None:
    """The same through `oncue invoke`, with words on the command line."""
    done = oncue.run("invoke", "send_email", "to=linus@example.com", "subject=Hi", "text=Hello there", "--wait")
    assert done.returncode == 0, done.stderr
    identity = json.loads(done.stdout)["message_id"]
    assert any(message["message-id"] == identity for message in sink[0].messages)


def by_event(oncue: OnCue, http: httpx.Client, function: str, type: str, data: dict[str, Any], eventually: Eventually) -> bytes:
    """Publish an event, and return the result of the one invocation of a function that it brings about."""
    before = {one["id"] for one in http.get("/v1/invocations", params={"function": function}).json()["invocations"]}
    sent = oncue.run("send", type, f"@{json_file(oncue.folder, data)}")
    assert sent.returncode == 0, sent.stderr

    def done() -> list[str]:
        found = http.get("/v1/invocations", params={"function": function}).json()["invocations"]
        return [one["id"] for one in found if one["id"] not in before and one["status"] == "succeeded"]

    eventually(lambda: len(done()) == 1, 30)
    return http.get(f"/v1/invocations/{done()[0]}/result").content


def json_file(folder: Path, data: dict[str, Any]) -> Path:
    """Write data to a file for the command line."""
    path = folder / "data.json"
    path.write_text(json.dumps(data))
    return path


def test_thumbnail_by_event(oncue: OnCue, http: httpx.Client, eventually: Eventually) -> None:
    """`image.uploaded` makes a thumbnail."""
    event = json.loads((FUNCTIONS / "thumbnail" / "events" / "cover.json").read_text())
    content = by_event(oncue, http, "thumbnail", "image.uploaded", event, eventually)
    assert Image.open(io.BytesIO(content)).size == (8, 8)


def test_report_pdf_by_event(oncue: OnCue, http: httpx.Client, eventually: Eventually) -> None:
    """`report.requested` makes a report."""
    event = json.loads((FUNCTIONS / "report_pdf" / "events" / "from_csv.json").read_text())
    content = by_event(oncue, http, "report_pdf", "report.requested", event, eventually)
    assert "Offene Rechnungen" in pypdf.PdfReader(io.BytesIO(content)).pages[0].extract_text()


@pytest.mark.parametrize(
    ("function", "data", "words"),
    [
        ("thumbnail", {"image": "iVBORw0KGgoAAAANSUhEUgAATiAAAE4gCAAAAAA="}, "intact file"),
        ("thumbnail", {"image": "JSFQUy1BZG9iZS0zLjAgRVBTRi0zLjAK"}, "none of JPEG, PNG"),
        ("thumbnail", {"url": "http://127.0.0.1:1/"}, "leads to a private address"),
        ("send_email", {"to": "ann@example.com", "subject": "Hi\r\nBcc: eve@example.com", "text": "x"}, "control character"),
        ("send_email", {"to": "ann@example.com", "sender": "a@example.com\r\nX: y", "subject": "Hi", "text": "x"}, "sender"),
        ("send_email", {"to": "=?utf-8?q?a?= <ann@example.com>", "subject": "Hi", "text": "x"}, "encoded word"),
        ("report_pdf", {"title": "x", "csv": "a,b\n1,2,3\n"}, "row 1 has 3 cells"),
        ("report_pdf", {"title": "x", "rows": [["NaN"]], "columns": [{"name": "n", "format": "number"}]}, "no finite number"),
    ],
)
def test_bad_input_is_told_and_not_tried_again(
    http: httpx.Client, sink: tuple[Sink, str], function: str, data: dict[str, Any], words: str
) -> None:
    """One attempt, one sentence, nothing sent; and the next caller is answered."""
    before = len(sink[0].messages)
    answer = http.post(f"/v1/functions/{function}", json=data)
    record = http.get(f"/v1/invocations/{answer.headers['x-invocation-id']}").json()
    assert (record["status"], len(record["attempts"])) == ("failed", 1), record
    assert words in record["error"]["message"]
    assert len(sink[0].messages) == before
    sample = {"thumbnail": "cover.json", "send_email": "text.json", "report_pdf": "from_csv.json"}[function]
    event = json.loads((FUNCTIONS / function / "events" / sample).read_text())
    assert http.post(f"/v1/functions/{function}", json=event).status_code == 200
