"""Tells which language the words around a place are in, by the small words that every sentence has.

"A douche" is English and "une douche" French, "dick" after "das ist" is German: a listed word that is ordinary in another language
counts when its own is spoken around it.
"""

from __future__ import annotations

_SMALL_WORDS = {
    "en": "a an the of to and is are was you he she it they we i my your his her their this that these those what with for on in at be "
    "been do does did not no so such who how if or but from by as me him them were will would can could all just like get got have "
    "has had s m re ve don t",
    "de": "der die das ein eine einen einem einer ist sind war bist du er sie es wir ihr ich mein meine dein deine sein seine und oder "
    "aber nicht kein keine so zu sehr auf in im mit fur fuer von dem den des wie was auch nur dich mich dir mir hat haben wird zum bei",
    "fr": "le la les un une des de du est sont suis je tu il elle on nous vous ils et ou mais pas ne ce cet cette ces mon ma mes ton ta "
    "tes son sa ses que qui dans sur pour avec au aux en qu bien tres quel quelle sous par prends",
    "es": "el la los las un una unos unas de del y o pero no que es son yo tu mi su con por para en al lo se te me esta este eres muy "
    "como mas si ya ha soy a ser hay cuando donde hasta sin sobre entre vamos tiene nos",
}
_SMALL = {language: frozenset(words.split()) for language, words in _SMALL_WORDS.items()}
# Characters on either side that are looked at.
_AROUND = 60


def is_spoken(language: str, padded: str, start: int, end: int, foreign: frozenset[str]) -> bool:
    """Tell whether padded[start:end] stands in this language rather than in the foreign ones; in doubt all is English."""
    around = f"{padded[max(0, start - _AROUND) : start]} {padded[end : end + _AROUND]}".split()
    own = sum(word in _SMALL[language] for word in around)
    others = max(sum(word in _SMALL[other] for word in around) for other in foreign)
    return own >= others if language == "en" else own > others + 1
