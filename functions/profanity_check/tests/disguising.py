"""Writes profanity as people disguise it: each class of disguise is a small function of a random source and a word.

A class returns None where it does not apply to the word.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

WORDS = {
    "en": [
        "fuck",
        "fucking",
        "fucker",
        "motherfucker",
        "shit",
        "bullshit",
        "shitty",
        "bitch",
        "bitches",
        "asshole",
        "cunt",
        "dickhead",
        "whore",
        "slut",
        "faggot",
        "nigger",
        "bastard",
        "wanker",
        "pussy",
        "cocksucker",
    ],
    "de": ["scheiße", "arschloch", "ficken", "wichser", "hurensohn", "fotze", "schlampe", "verfickt"],
    "fr": ["putain", "merde", "connard", "enculé", "salope", "connasse", "pute"],
    "es": ["mierda", "puta", "cabrón", "pendejo", "gilipollas", "joder", "coño", "hijoputa"],
}
CARRIERS = {
    "en": ["you {}", "what a {} day", "{}!", "so {} annoying", "oh {}, not again", "he said {} to me"],
    "de": ["du {}", "so eine {}", "{}!", "was für ein {} Tag", "das ist {} hier"],
    "fr": ["{}!", "quel {} alors", "oh {} encore", "espèce de {}", "c'est {} ici"],
    "es": ["{}!", "qué {} eres", "eres {} siempre", "vaya {} hombre", "ay {} otra vez"],
}
LEET = {"a": "4@", "b": "8", "c": "(<", "e": "3€", "g": "9", "i": "1!|", "l": "1|", "o": "0", "s": "5$", "t": "7+", "u": "v"}
DRAWN = {
    "k": ["|<", "|{"],
    "u": ["|_|", "(_)"],
    "a": ["/\\", "/-\\"],
    "h": ["|-|", "}{"],
    "d": ["|)"],
    "o": ["()", "[]"],
    "n": ["|\\|"],
    "m": ["|\\/|", "/\\/\\"],
    "w": ["\\/\\/", "vv"],
    "f": ["|=", "ph"],
    "b": ["|3"],
    "p": ["|>", "|*"],
    "r": ["|2"],
    "j": ["_|"],
}
SEPARATORS = [" ", ".", "-", "_", "*", "\n", "  ", " . ", "/", "~", ",", "🔥", "😂", "·", "•", " - ", "|", "'", "+", ":"]
HIDDEN = "*#-_.@•%&^×■~"
ALIKE = {
    "a": "аαɑ",
    "b": "Ьв",
    "c": "сϲᴄ",
    "e": "еҽ",
    "f": "ϝғ",
    "h": "һ",
    "i": "іιɩ",
    "k": "кκ",
    "o": "оοօ",
    "p": "рρ",
    "s": "ѕꜱ",
    "t": "тτ",
    "u": "υս",
    "n": "ո",
    "y": "уү",
    "d": "ԁ",
    "m": "мᴍ",
    "l": "ⅼ",
    "w": "ԝѡ",
    "r": "гᴦ",
    "g": "ɡ",
}
SMALL = dict(zip("abcdefghijklmnoprstuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", strict=True))
SOUNDS = {
    "fuck": ["phuck", "fuk", "fuq", "fukk", "phuk", "fvck", "fook"],
    "shit": ["sheit", "shyt", "schit", "shiet"],
    "bitch": ["biatch", "beotch", "bytch", "bich", "betch"],
    "asshole": ["azzhole", "ashole", "asshoal"],
    "cunt": ["kunt", "cuntt"],
    "dick": ["dik", "dikk"],
    "cock": ["cawk", "kock", "cok"],
    "pussy": ["pusi", "pussi", "puzzy"],
    "bastard": ["bastid", "basterd"],
    "whore": ["hore", "whoar", "hoar"],
    "scheiße": ["schaise", "scheise", "scheizze"],
    "wichser": ["wixer", "wixxer"],
    "ficken": ["fikken", "phicken"],
    "connard": ["konnard", "conar"],
    "enculé": ["enkulé", "anculé"],
    "putain": ["putin", "puthain", "ptain"],
    "puta": ["pvta", "putah"],
    "cabrón": ["kabron", "cavron"],
    "mierda": ["mierdha", "myerda"],
    "joder": ["hoder", "jodér"],
    "pendejo": ["pendeho", "pendexo"],
    "gilipollas": ["jilipollas", "gilipoyas"],
    "coño": ["koño"],
}

VOWELS = "aeiouéó"
STEMS_HIDDEN = {
    "motherfucker": "motherf***er",
    "fucking": "f***ing",
    "fucker": "f**ker",
    "bullshit": "bulls**t",
    "asshole": "a**hole",
    "dickhead": "d**khead",
}


def _some(rng: random.Random, word: str, signs: Mapping[str, Sequence[str]], share: float = 0.5) -> str | None:
    places = [place for place, letter in enumerate(word) if letter in signs]
    if not places:
        return None
    chosen = {place for place in places if rng.random() < share} or {rng.choice(places)}
    return "".join(rng.choice(signs[letter]) if place in chosen else letter for place, letter in enumerate(word))


def _shifted(word: str, first: int) -> str:
    return "".join(chr(first + ord(letter) - ord("a")) if "a" <= letter <= "z" else letter for letter in word)


def leet(rng: random.Random, word: str) -> str | None:
    return _some(rng, word, LEET)


def drawn(rng: random.Random, word: str) -> str | None:
    return _some(rng, word, DRAWN, 0.3)


def separated(rng: random.Random, word: str) -> str:
    return rng.choice(SEPARATORS).join(word)


def separated_by_several(rng: random.Random, word: str) -> str:
    kinds = rng.sample(SEPARATORS, 3)
    return "".join(letter + rng.choice(kinds) for letter in word[:-1]) + word[-1]


def stretched(rng: random.Random, word: str) -> str:
    place = rng.randrange(len(word))
    return word[:place] + word[place] * rng.randint(3, 8) + word[place + 1 :]


def doubled(rng: random.Random, word: str) -> str:
    place = rng.randrange(len(word))
    return word[:place] + word[place] + word[place:]


def vowel_hidden(rng: random.Random, word: str) -> str | None:
    places = [place for place in range(1, len(word) - 1) if word[place] in VOWELS]
    if not places:
        return None
    place = rng.choice(places)
    return word[:place] + rng.choice(HIDDEN) + word[place + 1 :]


def inner_hidden(rng: random.Random, word: str) -> str:
    shown = rng.choice([1, 2]) if len(word) > 4 else 1
    return word[:shown] + "*" * (len(word) - shown - 1) + word[-1]


def stem_hidden(rng: random.Random, word: str) -> str | None:
    return STEMS_HIDDEN.get(word)


def grawlix(rng: random.Random, word: str) -> str | None:
    known = word in ("fuck", "shit", "bitch", "fucking")
    return word[0] + "".join(rng.choice("@#$%&*!") for _ in word[1:]) if known else None


def swapped(rng: random.Random, word: str) -> str:
    place = rng.choice([place for place in range(1, len(word) - 1) if word[place] != word[place + 1]])
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def invisible(rng: random.Random, word: str) -> str:
    return rng.choice("\u200b\u200c\u200d\u2060\ufeff\u00ad").join(word)


def marked(rng: random.Random, word: str) -> str:
    return "".join(letter + rng.choice("\u0336\u0301\u0308\u0323\u034f") for letter in word)


def full_width(rng: random.Random, word: str) -> str:
    return _shifted(word, 0xFF41)


def mathematical(rng: random.Random, word: str) -> str:
    return _shifted(word, rng.choice([0x1D41A, 0x1D4EA, 0x1D5BA, 0x1D68A, 0x1D586]))


def enclosed(rng: random.Random, word: str) -> str:
    return _shifted(word, rng.choice([0x24D0, 0x1F130, 0x1F150, 0x1F170]))


def small_caps(rng: random.Random, word: str) -> str:
    return "".join(SMALL.get(letter, letter) for letter in word)


def alike(rng: random.Random, word: str) -> str | None:
    return _some(rng, word, ALIKE)


def backwards(rng: random.Random, word: str) -> str:
    return word[::-1]


def mixed_case(rng: random.Random, word: str) -> str:
    return "".join(letter.upper() if rng.random() < 0.5 else letter for letter in _some(rng, word, LEET) or word)


def by_sound(rng: random.Random, word: str) -> str | None:
    return next((word.replace(plain, rng.choice(sounds)) for plain, sounds in SOUNDS.items() if plain in word), None)


def in_two(rng: random.Random, word: str) -> str:
    place = rng.randrange(1, len(word))
    return word[:place] + rng.choice(" -./_") + word[place:]


#: Those that people use most come twice.
CLASSES: tuple[Callable[[random.Random, str], str | None], ...] = (
    *(
        leet,
        leet,
        drawn,
        separated,
        separated,
        separated_by_several,
        stretched,
        doubled,
        vowel_hidden,
        vowel_hidden,
        inner_hidden,
    ),
    *(
        stem_hidden,
        grawlix,
        swapped,
        invisible,
        marked,
        full_width,
        mathematical,
        enclosed,
        small_caps,
        alike,
        alike,
        backwards,
    ),
    *(mixed_case, by_sound, by_sound, in_two),
)


def texts(seed: int, count: int) -> list[tuple[str, str]]:
    """Return `count` pairs (class, text), the same for the same seed."""
    rng = random.Random(seed)
    made: list[tuple[str, str]] = []
    while len(made) < count:
        language = rng.choice(["en", "en", "de", "fr", "es"])
        word, carrier, disguise = rng.choice(WORDS[language]), rng.choice(CARRIERS[language]), rng.choice(CLASSES)
        written = disguise(rng, word)
        if written and written != word:
            made.append((disguise.__name__, carrier.format(written)))
    return made


#: How single letters are disguised, and what is done to all letters after that.
PAIRS = (
    (leet, alike, stretched, doubled, vowel_hidden),
    (separated, invisible, marked, full_width, mathematical, enclosed, small_caps, mixed_case, in_two),
)


def combined_texts(seed: int, count: int) -> list[tuple[str, str]]:
    """Return `count` pairs (classes, text) of two disguises at once, the same for the same seed."""
    rng = random.Random(seed)
    made: list[tuple[str, str]] = []
    while len(made) < count:
        language = rng.choice(["en", "en", "de", "fr", "es"])
        first, second = map(rng.choice, PAIRS)
        written = first(rng, rng.choice(WORDS[language]))
        if written and (twice := second(rng, written)):
            made.append((f"{first.__name__}, {second.__name__}", rng.choice(CARRIERS[language]).format(twice)))
    return made
