"""The measured numbers of a Markdown text, each tied to the stored result that it shows.

`0.616<!--=demo/dsi+bm25/RR@10-->` is tied: a comment right behind the number, with its `%`, `k`, `M` or `G` if it has
one, names the result (see `stored_results`). It is true if the stored number, rounded as it is written, is the same. A
share is written as a fraction or with `%`. A number that looks measured and is not tied is a fault. Those in code, in
the targets of links, in links to other sites and in the headers of tables are none; nor are versions, settings
(`k1=0.9`) and 95 % intervals.
"""

import re
from collections.abc import Iterator
from contextlib import suppress

from markdown_text import BLOCK, SPAN, blanked, line_of
from stored_results import Results

START = r"(?<![\w.,@])(?<![A-Za-z]-)[+-]?"
"""No number begins within a word, another number, or the name of a measure or a licence."""
NUMBER = START + r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
TIED = re.compile(rf"(?:(?P<number>{NUMBER})(?:\s?(?P<scale>%|[kMG]))?)?<!--=(?P<name>[^>\n]*)-->")
SCALES = {None: 1.0, "%": 0.01, "k": 1e3, "M": 1e6, "G": 1e9}
KNOWN = "\N{WHITE SQUARE}"
"""Stands for a number that is tied: that before it may have the same unit."""
OTHERS = rf"(?:(?:\s(?:to|and|or)\s|-|,\s| / )(?:[+-]?[\d.,]*\d|{KNOWN}\s*))*"
UNIT = r"(?:\s?%|x\b|\s?[kMG]\b|[\s-]?(?:ms|s|min|h|seconds?|minutes?|hours?|days?|bytes?|[kKMGT]i?B|times)\b)"
MEASURED = re.compile(rf"{START}(?:\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d+\.\d+|\d+(?={OTHERS}{UNIT})|(?<=\| )\d+(?= \|))")
EXEMPT = re.compile(
    r"\d+(?:\.\d+){2,}"  # 0.2.0
    r"|\b(?:Python|dsi|CUDA|Java|version)[\s>=]+\d+\.\d+(?:(?:,|\sand|\sor|\sto)\s\d+\.\d+)*"
    r"|\b\w+=\d[\d.,]*\b"
    r"|\b95\s?%\s(?:confidence\s)?intervals?"
    r"|^\|.*\|$(?=\n\|[ :|-]+$)"  # the header of a table
    r"|\[[^]]*\]\(https?:[^)]*\)|\]\([^)]*\)|^\[[^]]+\]:.*$",
    re.M,
)
GENERATED = re.compile(r"<!-- begin (?P<name>\S[^>\n]*?) -->\n(?P<text>.*?)<!-- end (?P=name) -->", re.S)
"""A table that is written from the stored results (see `readme_tables`)."""
COMMENT = re.compile(r"<!--.*?-->", re.S)


def rounded(value: float, number: str, scale: str | None) -> str:
    """A value written as `number` is, with its sign, its commas and its decimals, in units of the scale.

    >>> rounded(0.61551, "0.617", None), rounded(0.0437, "+4", "%"), rounded(12_345, "9,876", None)
    ('0.616', '+4', '12,345')
    """
    decimals = len(number.partition(".")[2])
    sign = "+" if number.startswith("+") else ""
    comma = "" if re.match(r"[+-]?\d{4}", number) else ","
    return f"{value / SCALES[scale]:{sign}{comma}.{decimals}f}"


def faults(text: str, results: Results) -> Iterator[tuple[int, str]]:
    """Yield the line and the fault of each number that is not as stored, and of each measured one that is not tied."""
    text = blanked(text, BLOCK, SPAN)
    for match in TIED.finditer(text):
        number, name, line = match["number"], match["name"], line_of(text, match.start())
        try:
            if number != (stored := _stored(match, results)):
                yield line, f"{number} is {stored} in the stored results ({name}): make readme writes it"
        except KeyError as error:
            yield line, error.args[0]
    prose = TIED.sub(lambda match: KNOWN + re.sub(r"[^\n]", " ", match[0][1:]), text)
    prose = blanked(prose, GENERATED, COMMENT, EXEMPT)
    for match in MEASURED.finditer(prose):
        yield (
            line_of(prose, match.start()),
            f"{match[0]} looks measured, but is tied to no stored result: put <!--=NAME--> right behind it, or make it"
            " code if it was not measured",
        )


def rewritten(text: str, results: Results) -> str:
    """The text with every tied number as it is stored; one that has no stored result stays."""
    for match in reversed([*TIED.finditer(blanked(text, BLOCK, SPAN))]):
        with suppress(KeyError):
            text = text[: match.start()] + _stored(match, results) + text[match.end("number") :]
    return text


def _stored(match: re.Match[str], results: Results) -> str:
    """The stored number of a match of `TIED`, as it is to be written.

    Raises:
        KeyError: there is none, or there is no number to be tied; with what is wrong.
    """
    if match["number"] is None:
        raise KeyError(f"there is no number right before <!--={match['name']}-->")
    return rounded(results.value(match["name"]), match["number"], match["scale"])
