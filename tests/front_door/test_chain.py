"""An upload event ends as a mail with its thumbnail, a schedule as one with a report: docs/chain.md, run as it is printed."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pypdf
import pytest
from PIL import Image

from tests.front_door.test_four_functions import FUNCTIONS, Sink, sink
from tests.running import Eventually, OnCue, make_function, start

__all__ = ["sink"]

DOCUMENT = Path(__file__).parents[2] / "docs" / "chain.md"


@pytest.fixture(scope="module")
def oncue(tmp_path_factory: pytest.TempPathFactory, sink: tuple[Sink, str]) -> Iterator[OnCue]:
    """`oncue up` over three shipped folders and the two that the document prints."""
    folder = tmp_path_factory.mktemp("chain")
    for name in ("thumbnail", "report_pdf", "send_email"):
        shutil.copytree(FUNCTIONS / name, folder / "functions" / name, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    printed = re.findall(r"`functions/(\w+)/__init__\.py`:\n\n```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert [name for name, _ in printed] == ["uploads", "reports"]
    for name, code in printed:
        make_function(folder / "functions", name, code)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")}
    mail = {"ONCUE_SECRET_SMTP_URL": f"{sink[1]}?starttls=never"}
    oncue = start({**kept, **mail, "ONCUE_PORT": "0", "ONCUE_FUNCTIONS": "functions"}, folder)
    yield oncue
    assert oncue.up.stop() == 0


def upload(oncue: OnCue, image: bytes, to: str) -> None:
    """Publish the event of an upload."""
    event = {
        "specversion": "1.0",
        "id": to,
        "source": "/camera",
        "type": "image.uploaded",
        "data": {"image": base64.b64encode(image).decode(), "to": to},
    }
    answer = httpx.post(
        f"{oncue.url}/v1/events", json=event, headers={"content-type": "application/cloudevents+json"}, timeout=30
    )
    assert answer.status_code == 202, answer.text


def picture(size: tuple[int, int]) -> bytes:
    """A red PNG."""
    content = io.BytesIO()
    Image.new("RGB", size, "red").save(content, "PNG")
    return content.getvalue()


def invocations(oncue: OnCue, function: str) -> list[dict[str, str]]:
    """The records of one function's invocations."""
    answer = httpx.get(f"{oncue.url}/v1/invocations", params={"function": function}, timeout=30)
    found: list[dict[str, str]] = answer.json()["invocations"]
    return found


def test_upload_that_ends_as_a_mail(oncue: OnCue, sink: tuple[Sink, str], eventually: Eventually) -> None:
    """The mail that arrives at a real SMTP server carries the thumbnail of the uploaded picture."""
    upload(oncue, picture((800, 400)), "ann@example.com")
    eventually(lambda: ["ann@example.com"] in sink[0].recipients, 30)
    message = sink[0].messages[sink[0].recipients.index(["ann@example.com"])]
    (attachment,) = message.iter_attachments()
    assert attachment.get_filename() == "thumbnail.jpg"
    small = Image.open(io.BytesIO(attachment.get_content()))
    assert small.size == (200, 100)
    red, green, blue = small.convert("RGB").getpixel((100, 50))  # type: ignore[misc]  # three bands
    assert red > 240
    assert max(green, blue) < 20


def test_upload_that_is_no_picture(oncue: OnCue, sink: tuple[Sink, str], eventually: Eventually) -> None:
    """A link that fails ends the chain: no mail, one dead letter; the next upload goes through."""
    before = len(invocations(oncue, "mail_thumbnail"))
    upload(oncue, b"no picture", "bob@example.com")
    eventually(lambda: [one for one in invocations(oncue, "thumbnail") if one["status"] == "failed"], 30)
    upload(oncue, picture((80, 40)), "cleo@example.com")
    eventually(lambda: ["cleo@example.com"] in sink[0].recipients, 30)
    assert ["bob@example.com"] not in sink[0].recipients
    assert len(invocations(oncue, "mail_thumbnail")) == before + 1


def test_schedule_that_ends_as_a_mail(oncue: OnCue, sink: tuple[Sink, str], eventually: Eventually) -> None:
    """What the schedule has made, fired here by hand, is attached under its own name."""
    schedule = next(
        s["id"] for s in httpx.get(f"{oncue.url}/v1/schedules").json()["schedules"] if s["function"] == "daily_report"
    )
    fired = oncue.run("cron", "fire", schedule)
    assert fired.returncode == 0, fired.stderr
    eventually(lambda: ["team@example.com"] in sink[0].recipients, 30)
    message = sink[0].messages[sink[0].recipients.index(["team@example.com"])]
    (attachment,) = message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content_type()) == ("sales-today.pdf", "application/pdf")
    text = pypdf.PdfReader(io.BytesIO(attachment.get_content())).pages[0].extract_text()
    assert "Sales today" in text
    assert "205" in text
