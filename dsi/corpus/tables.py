"""Tables of a source: fields separated by tabs or white space, under a header that most of them do not have."""

import re
from collections.abc import Iterator, Sequence

from dsi.corpus.files import TextFile, split_fields
from dsi.corpus.source import Where
from dsi.errors import DsiError
from dsi.runtime.progress import say

DOCUMENT_ID, QUERY_ID, TEXT, ITERATION, RELEVANCE = "document id", "query id", "text", "iteration", "relevance"
NAMES = {
    DOCUMENT_ID: "id docid documentid did pid passageid corpusid docno doc document passage entityid",
    QUERY_ID: "id qid queryid topicid topic topicno query number num",
    TEXT: "text texts content contents body passage passagetext document documenttext doc doctext query querytext"
    " queries question title topic predictedquery predictedqueries",
    ITERATION: "iter iteration q0 0 zero unused",
    RELEVANCE: "relevance rel relevancy score label grade judgement judgment qrel",
}
"""What headers call a column, in small letters and digits."""


class Table:
    """The rows of a text file. A header is recognised by its names, and left out with a word on stderr."""

    def __init__(
        self, file: TextFile, columns: Sequence[str], separator: str | None = "\t", headed: bool = False
    ) -> None:
        """Take the names of the columns, and their separator, where None stands for runs of white space.

        With `headed`, the table must have a header, and nothing is said about it.
        """
        self.file = file
        self._columns, self._separator, self._headed = columns, separator, headed

    def rows(self) -> Iterator[tuple[Where, list[str]]]:
        """The fields of each row, with its place.

        Raises:
            DsiError: the file cannot be read, a row has more or fewer fields than there are columns, a header names
                other columns, or there is none where there must be one.
        """
        header, first = "", None  # the first row, if its id has no digits
        for number, (where, line) in enumerate(self.file.lines()):
            if line == header:  # of tables that were put together
                say(f"{where}: left out, it is the header again: {line!r:.80}")
                continue
            fields = split_fields(where, line, self._columns, self._separator)
            if number == 0 and self._is_header(where, fields):
                header = line
                if not self._headed:
                    say(f"{where}: left out, it is a header: {line!r:.80}")
                continue
            if number == 0 and self._headed:
                raise DsiError(f"{where}: expected a header that names {', '.join(self._columns)}, found {line!r:.80}")
            if number == 0 and not _has_digit(fields[0]):
                first = where, fields[0]
            elif number == 1 and first and _has_digit(fields[0]):
                say(f"{first[0]}: {first[1]!r:.60} is read as an id; if this line is a header, remove it")
            yield where, fields

    def _is_header(self, where: Where, fields: list[str]) -> bool:
        names = [re.sub(r"[\W_]+", "", field.casefold()) for field in fields]
        known = [set(NAMES[column].split()) for column in self._columns]
        if all(name in allowed for name, allowed in zip(names, known, strict=True)):
            return True
        # "q0" and "0" are values of a row, too: without the name of an id or a text it is no header
        is_named = any(name in NAMES[column].split() for name in names for column in (DOCUMENT_ID, QUERY_ID, TEXT))
        if is_named and all(any(name in allowed for allowed in known) for name in names):
            raise DsiError(f"{where}: the columns must be {', '.join(self._columns)}, but the header is {fields}")
        return False


def _has_digit(text: str) -> bool:
    return any(map(str.isdigit, text))
