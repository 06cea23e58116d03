"""The definition of a word, by which queries are simulated, measured and compared with documents; and the one form of
Unicode that every text has.

A word is a run of letters and digits with their combining marks: the vowel signs of Hindi and the accents of a
decomposed `é` belong to it, joiners between its letters too.
"""

import re
import unicodedata
from itertools import chain, pairwise

import regex

MARKS = r"\p{Mn}\p{Mc}"
LETTERS = rf"\p{{L}}\p{{N}}{MARKS}"
"""What words are made of, as the inside of a character class."""
JOINERS = "\u200c\u200d"
"""Between two letters, these say whether they join: `می‌خواهم` is one word."""
INVISIBLE = "\u00ad\ufe00-\ufe0f\U000e0100-\U000e01ef"
"""Soft hyphens and variation selectors, which only say how others are drawn."""
DOTTED_I = "i\u0307"
"""What Unicode makes of a small `İ`; readers and Lucene make `i` of it."""

_ASIAN = r"\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{Line_Break=Complex_Context}"  # the last: Thai and its like
_UNSPACED = rf"[\p{{L}}&&[{_ASIAN}]]"
_SPACED = rf"[[\p{{L}}\p{{N}}]--{_UNSPACED}]"
_TAIL = f"[{_SPACED}{MARKS}]"
_UNSPACED_LETTER = regex.compile(f"{_UNSPACED}[{MARKS}]*", regex.V1)
_WORD = regex.compile(f"(?:{_UNSPACED}[{MARKS}]*)+|{_SPACED}{_TAIL}*(?:[{JOINERS}]+{_TAIL}+)*", regex.V1)
_SEAM = regex.compile(rf"(?<=({_UNSPACED}[{MARKS}]*)) (?:\1(?![{MARKS}])|(?={_UNSPACED}))", regex.V1)
_ASCII_WORD = re.compile(r"[^\W_]+")  # the same words as `_WORD` finds in ASCII, sooner
_INVISIBLE = re.compile(f"[{INVISIBLE}]+")


def nfc(text: str) -> str:
    """A text in Unicode's normal form C: a letter with its accent is one character, however it was typed.

    >>> len("e\\u0301"), len(nfc("e\\u0301"))
    (2, 1)
    """
    return unicodedata.normalize("NFC", text)


def words_of(text: str, pairs: bool = False) -> list[str]:
    """The words of a text in order, in lower case. A letter stays one letter: `ß` and the dotless `i` remain, `İ` is
    `i`.

    Scripts without blanks show no words, so that a run of their letters is one; with `pairs`, every two letters that
    follow each other are a word instead, as in Lucene's analyzer for Chinese.

    >>> words_of("Copy a directory_tree, 2x!")
    ['copy', 'a', 'directory', 'tree', '2x']
    >>> words_of("İzmir, किताब")
    ['izmir', 'किताब']
    >>> words_of("去上海"), words_of("去上海", pairs=True)
    (['去上海'], ['去上', '上海'])
    """
    text = nfc(text).lower()
    if text.isascii():
        return _ASCII_WORD.findall(text)
    words: list[str] = _WORD.findall(_INVISIBLE.sub("", text.replace(DOTTED_I, "i")))
    if not pairs or not _UNSPACED_LETTER.search(text):
        return words
    cut = ([first + second for first, second in pairwise(_UNSPACED_LETTER.findall(word))] or [word] for word in words)
    return list(chain.from_iterable(cut))


def joined(text: str) -> str:
    """Words with blanks between them, written as their script writes them: two of a script without blanks stand
    together, and a letter that they share stands once.

    >>> joined("去上 上海 铁路 by train")
    '去上海铁路 by train'
    """
    return text if text.isascii() else _SEAM.sub("", text)
