import json
from pathlib import Path
from typing import Any

import pytest

from infra.cli.arguments import read
from infra.cli.errors import UsageError

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "width": {"type": "integer"},
        "note": {"type": "string"},
        "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "number": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "image": {"type": "string", "contentEncoding": "base64"},
        "to": {"type": "array", "items": {"type": "string"}},
        "sizes": {"type": "array", "items": {"type": "integer"}},
        "mode": {"$ref": "#/$defs/Mode"},
        "options": {"type": "object"},
    },
    "$defs": {"Mode": {"type": "string", "enum": ["1", "2"]}},
}


def data(*words: str, schema: dict[str, Any] = SCHEMA) -> Any:
    body = read(list(words), schema)
    assert body.media_type == "application/json"
    return json.loads(body.content)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("width=256", {"width": 256}),
        ("width=wide", {"width": "wide"}),
        ("note=256", {"note": "256"}),
        ("note=", {"note": ""}),
        ("note=a=b", {"note": "a=b"}),
        ("note=@@home", {"note": "@home"}),
        ("maybe=null", {"maybe": "null"}),
        ("number=null", {"number": None}),
        ("mode=1", {"mode": "1"}),
        ("to=a@x.org", {"to": ["a@x.org"]}),
        ('to=["a","b"]', {"to": ["a", "b"]}),
        ("sizes=3", {"sizes": [3]}),
        ('options={"a":1}', {"options": {"a": 1}}),
        ("unknown=true", {"unknown": True}),
        ("unknown=yes", {"unknown": "yes"}),
        ("note=ü€", {"note": "ü€"}),
    ],
)
def test_one_word(word: str, value: Any) -> None:
    """It is read as JSON where it is JSON and the function does not want text."""
    assert data(word) == value


def test_a_repeated_name() -> None:
    """It fills a list, and is refused where one value is taken."""
    assert data("to=a", "to=b", "sizes=1", "sizes=2") == {"to": ["a", "b"], "sizes": [1, 2]}
    with pytest.raises(UsageError, match="'width' is given twice"):
        data("width=1", "width=2")


def test_a_file_as_a_parameter(tmp_path: Path) -> None:
    """Bytes travel as base64, text as text, and JSON as what it says."""
    (tmp_path / "x").write_bytes(b"\x00\xff")
    (tmp_path / "t").write_text("12")
    assert data(f"image=@{tmp_path}/x") == {"image": "AP8="}
    assert data(f"note=@{tmp_path}/t", f"width=@{tmp_path}/t") == {"note": "12", "width": 12}


def test_a_json_file_as_the_body(tmp_path: Path) -> None:
    """It is the data; parameters beside it go into its object."""
    (tmp_path / "event.json").write_text('{"width": 1, "note": "n"}')
    assert data(f"@{tmp_path}/event.json", "width=2") == {"width": 2, "note": "n"}
    (tmp_path / "list.json").write_text("[1]")
    assert data(f"@{tmp_path}/list.json") == [1]
    with pytest.raises(UsageError, match="holds no JSON object, so width="):
        data(f"@{tmp_path}/list.json", "width=2")


def test_another_file_as_the_body(tmp_path: Path) -> None:
    """It is sent raw in its media type, with the parameters in the query."""
    (tmp_path / "cat.jpg").write_bytes(b"\xff\xd8")
    body = read([f"@{tmp_path}/cat.jpg", "width=3", "note=a b"], SCHEMA)
    assert (body.content, body.media_type, body.query) == (b"\xff\xd8", "image/jpeg", {"width": "3", "note": "a b"})


def test_no_words() -> None:
    """A function without parameters gets an empty object."""
    assert data() == {}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["width"], "'width' is neither KEY=VALUE nor @FILE"),
        (["=3"], "'=3' is neither"),
        (["@missing.png"], "missing.png cannot be read: No such file"),
        (["image=@missing.png"], "missing.png cannot be read"),
        (["@a.json", "@b.json"], "one @FILE can be the body, not 2"),
    ],
)
def test_words_that_cannot_be_read(words: list[str], reason: str) -> None:
    """The error names the word, and counts as wrong use."""
    with pytest.raises(UsageError, match=reason) as error:
        read(words, SCHEMA)
    assert error.value.exit_code == 2


def test_a_file_that_is_not_json(tmp_path: Path) -> None:
    """A broken event file is named."""
    (tmp_path / "event.json").write_text("{")
    with pytest.raises(UsageError, match=r"event\.json is not JSON"):
        data(f"@{tmp_path}/event.json")
