"""The terms of a text, by which it is found: its words without stop words, cut to their stems.

Words are those of `dsi.corpus.words`, where Lucene has its own tokenizers. English stop words are Lucene's 33; stems
are Snowball's, where Lucene's English ones are the older Porter's (of fairly: fair, fairli).
"""

from functools import cache
from itertools import pairwise

import regex
import tantivy

from dsi.corpus.words import words_of

STEMMERS = {
    "ar": "arabic",
    "da": "danish",
    "de": "german",
    "en": "english",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "hu": "hungarian",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ru": "russian",
    "sv": "swedish",
    "tr": "turkish",
}
"""The languages of corpus.language that have a stemmer; of the others, every word is a term."""
WITHOUT_STOP_WORDS = ("ar", "tr")
"""Those of them that tantivy has no list of stop words for."""
KOREAN = "ko"
_HANGUL = regex.compile(r"\p{Script=Hangul}{3,}")


@cache
def analyzer(language: str) -> tantivy.TextAnalyzer:
    """Makes the terms of words that stand between blanks."""
    built = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
    if name := STEMMERS.get(language):
        if language not in WITHOUT_STOP_WORDS:
            built = built.filter(tantivy.Filter.stopword(name))
        built = built.filter(tantivy.Filter.stemmer(name))
    return built.build()


def words_between_blanks(text: str, language: str) -> str:
    """The words of a text with blanks between them. Scripts without blanks, and Korean, whose words carry their
    particles, are cut into pairs of letters.

    >>> words_between_blanks("去上海 by Train", "zh"), words_between_blanks("한국어", "ko")
    ('去上 上海 by train', '한국 국어')
    """
    words = words_of(text, pairs=True)
    if language == KOREAN:
        words = [
            part
            for word in words
            for part in ((first + second for first, second in pairwise(word)) if _HANGUL.fullmatch(word) else (word,))
        ]
    return " ".join(words)


def terms_of(text: str, language: str) -> list[str]:
    """The terms of a text in order, those that occur several times as often.

    >>> terms_of("The Trains, the trees and the treeing!", "en")
    ['train', 'tree', 'tree']
    """
    return analyzer(language).analyze(words_between_blanks(text, language))
