"""Is the corpus written in the language that the configuration names, as far as its script tells?"""

import sys
from collections import Counter
from collections.abc import Iterable

import regex

from dsi.corpus.store import Corpus

SCRIPTS = {
    "Latin": ("da", "de", "en", "es", "fi", "fr", "hu", "id", "it", "nl", "no", "pl", "pt", "sv", "tr"),
    "Arabic": ("ar", "fa"),
    "Bengali": ("bn",),
    "Cyrillic": ("ru", "uk"),
    "Devanagari": ("hi",),
    "Han": ("zh", "ja", "ko"),
    "Hangul": ("ko",),
    "Hiragana": ("ja",),
    "Katakana": ("ja",),
    "Khmer": ("km",),
    "Lao": ("lo",),
    "Myanmar": ("my",),
    "Telugu": ("te",),
    "Thai": ("th",),
}
"""The scripts, and the languages of corpus.language that are written in them."""
SAMPLED_DOCUMENTS = 1_000
"""The number of documents, evenly spaced, whose letters are counted."""
LEAST_SHARE = 0.5
"""The share of letters in the scripts of a language below which a text is not in it."""
_LETTER = {script: regex.compile(rf"(?=\p{{L}})\p{{Script={script}}}") for script in SCRIPTS}
_ANY_LETTER = regex.compile(r"\p{L}")


def warn_of_language(corpus: Corpus, language: str) -> None:
    """Print one line to standard error if `misfit` has something to say of a sample of the documents."""
    sample = range(0, len(corpus), -(-len(corpus) // SAMPLED_DOCUMENTS))
    if fault := misfit((corpus[number].content() for number in sample), language):
        print(fault, file=sys.stderr)


def misfit(contents: Iterable[str], language: str) -> str | None:
    """What is wrong if most letters of the texts are of scripts that `language` is not written in, so that BM25 would
    take words apart by the rules of another language; None if that is not so."""
    letters, counts = 0, Counter[str]()
    for content in contents:
        letters += len(_ANY_LETTER.findall(content))
        for script, pattern in _LETTER.items():
            counts[script] += len(pattern.findall(content))
    counts["other"] = letters - counts.total()
    fitting = sum(counts[script] for script, languages in SCRIPTS.items() if language in languages)
    if language == "other" or fitting >= LEAST_SHARE * letters:
        return None
    script = max(counts, key=counts.__getitem__)
    return (
        f"corpus.language={language}, but {1 - fitting / letters:.0%} of the documents' letters are of other scripts"
        f" ({script} most often), so BM25 takes words apart by the wrong rules; set corpus.language"
        f" ({', '.join(SCRIPTS.get(script, ('other',)))})"
    )
