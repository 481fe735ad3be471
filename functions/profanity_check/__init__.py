"""POST /v1/functions/profanity_check: find profanity in a text, say how bad it is, and mask it."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import Field

from runtime import function

from . import search
from .lexicon import of_call, of_languages

Language = Literal["de", "en", "es", "fr"]
Entries = Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=1000)]

#: How much one find of a severity adds to the score, of what is missing to 1.
WEIGHTS = {1: 0.3, 2: 0.6, 3: 0.9}
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


@function(retries=0, timeout="60s", memory="1GB", max_body="8MB")
def profanity_check(
    text: Annotated[str, Field(max_length=2**20)],
    languages: Annotated[list[Language], Field(min_length=1)] = ["de", "en", "es", "fr"],  # noqa: B006  # never changed
    allow: Entries = [],  # noqa: B006  # never changed
    deny: Entries = [],  # noqa: B006  # never changed
) -> dict[str, Any]:
    """Find profanity, disguised or not, in a text of up to 1 MiB characters.

    Matches are in order and do not overlap; `start` and `end` count characters of `text`. `severity` is 1 (mild),
    2 (strong) or 3 (severe); `score` runs from 0 (clean) towards 1. `masked` is `text` with every match as asterisks.
    The first 10,000 matches are told and masked; `truncated` says that there may be more.
    `allow` lists words and phrases to leave alone, `deny` further ones to find (category "denied").
    """
    text = _LONE_SURROGATE.sub("\ufffd", text)
    lexicons = [of_languages(frozenset(languages))]
    if allow or deny:
        lexicons.append(of_call(tuple(allow), tuple(deny)))
    finds, truncated = search.find(text, lexicons)
    masked, end = [], 0
    for found in finds:
        masked += [text[end : found.start], "*" * (found.end - found.start)]
        end = found.end
    return {
        "clean": not (finds or truncated),
        "score": round(1 - math.prod(1 - WEIGHTS[found.word.severity] for found in finds), 3),
        "matches": [
            {
                "start": found.start,
                "end": found.end,
                "text": text[found.start : found.end],
                "category": found.word.category,
                "severity": found.word.severity,
            }
            for found in finds
        ],
        "masked": "".join(masked) + text[end:],
        "truncated": truncated,
    }
