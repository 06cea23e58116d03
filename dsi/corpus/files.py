"""The text files of a source, read line by line: plain, compressed with gzip, or inside a .tar.gz."""

import gzip
import json
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from dsi.corpus.source import Where
from dsi.errors import DsiError

ARCHIVES = (".tar.gz", ".tgz")
DAMAGE = (OSError, EOFError, zlib.error, tarfile.TarError)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_RELEVANCE = 2**31 - 1


@dataclass(frozen=True)
class TextFile:
    """A text file on disk or in an archive."""

    path: Path
    member: str | None = None
    """Name of the file inside the archive `path`, None for a file on disk."""

    @property
    def name(self) -> str:
        """The file as error messages name it."""
        return str(self.path) if self.member is None else f"{self.path}/{self.member.removeprefix('./')}"

    def lines(self) -> Iterator[tuple[Where, str]]:
        r"""The lines that are not empty, with their places and without their end, which is \n or \r\n.

        Raises:
            DsiError: the file cannot be read, is damaged or is not UTF-8.
        """
        name, number = self.name, 0
        try:
            with self._open() as stream:
                for number, line in enumerate(stream, start=1):
                    if number == 1:
                        line = line.removeprefix(BYTE_ORDER_MARK)
                    where = Where(name, number)
                    text = _decode(where, line).removesuffix("\n").removesuffix("\r")
                    if text:
                        yield where, text
        except DAMAGE as error:
            place = f" after line {number}" if number else ""
            raise DsiError(f"{name}: cannot be read{place}: {_reason(error)}") from None

    @contextmanager
    def _open(self) -> Iterator[IO[bytes] | gzip.GzipFile]:
        if self.member is not None:
            # tarfile's own stream mode for gzip would not notice damage.
            with gzip.open(self.path) as compressed, tarfile.open(fileobj=compressed, mode="r|") as archive:
                entry = next(entry for entry in archive if entry.name == self.member)
                stream = archive.extractfile(entry)
                assert stream is not None  # only regular files are listed
                yield stream
        elif self.path.suffix == ".gz":
            with gzip.open(self.path) as compressed:
                yield compressed
        else:
            with self.path.open("rb") as plain:
                yield plain


class Folder:
    """The files of a source: in a folder, as they are, with .gz added or in archives there; or all in one archive."""

    def __init__(self, path: str) -> None:
        """Open the folder or archive `path`; DsiError if it is neither."""
        self.path = Path(path)
        if not self.path.exists():
            raise DsiError(f"corpus.path: {path} does not exist")
        if self.path.is_file() and not self.path.name.endswith(ARCHIVES):
            raise DsiError(f"corpus.path: {path} is neither a folder nor a .tar.gz")

    def find(self, name: str) -> TextFile | None:
        """The file `name`, or None if there is no such file."""
        for path in (self.path / name, self.path / f"{name}.gz"):
            if path.is_file():
                return TextFile(path)
        for member in self._members:
            if f"/{member.member}".endswith(f"/{name}"):
                return member
        return None

    def present(self, *names: str) -> dict[str, bool]:
        """Whether each of these files exists, by path."""
        return {str(self.path / name): self.find(name) is not None for name in names}

    def get(self, name: str) -> TextFile:
        """The file `name`; DsiError if there is no such file."""
        file = self.find(name)
        if file is None:
            raise DsiError(f"there is no {self.path / name} (nor with .gz, nor in a .tar.gz there)")
        return file

    @cached_property
    def _members(self) -> list[TextFile]:
        archives = [self.path] if self.path.is_file() else sorted(self.path.iterdir())
        return [
            TextFile(archive, member)
            for archive in archives
            if archive.is_file() and archive.name.endswith(ARCHIVES)
            for member in _list_archive(archive)
        ]


def json_records(file: TextFile) -> Iterator[tuple[Where, dict[str, Any]]]:
    """The JSON object on each line, with its place; DsiError if a line is not a JSON object."""
    for where, line in file.lines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DsiError(f"{where}: not valid JSON at character {error.pos + 1}: {error.msg}") from None
        except (ValueError, RecursionError) as error:
            raise DsiError(f"{where}: not valid JSON: {error}") from None
        if not isinstance(record, dict):
            raise DsiError(f"{where}: expected a JSON object {{...}}, found {line[:60]!r}")
        yield where, record


def split_fields(where: Where, line: str, names: Sequence[str], separator: str | None = "\t") -> list[str]:
    """The fields of a line, separated by `separator`, where None stands for runs of white space.

    Raises:
        DsiError: there are more or fewer fields than `names`.
    """
    fields = line.split(separator)
    if len(fields) != len(names):
        between = "tabs" if separator else "white space"
        raise DsiError(
            f"{where}: expected {len(names)} fields separated by {between} ({', '.join(names)}), found {len(fields)}"
        )
    return fields


def parse_relevance(where: Where, text: str) -> int:
    """The relevance grade of a judgement; DsiError unless the text is a whole number that fits into 32 bits."""
    try:
        relevance = int(text)
    except ValueError:
        raise DsiError(f"{where}: relevance must be a whole number, found {text[:60]!r}") from None
    if abs(relevance) > MAX_RELEVANCE:
        raise DsiError(f"{where}: relevance {text[:60]!r} is out of range")
    return relevance


def _decode(where: Where, line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise DsiError(
            f"{where}: not UTF-8, byte {error.start + 1} of the line is 0x{line[error.start]:02x}; convert the file,"
            " e.g. with iconv"
        ) from None


def _list_archive(path: Path) -> list[str]:
    try:
        with gzip.open(path) as compressed, tarfile.open(fileobj=compressed, mode="r|") as archive:
            names = [entry.name for entry in archive if entry.isfile()]
            while compressed.read(1 << 20):  # the checksum stands at the very end
                pass
            return names
    except DAMAGE as error:
        raise DsiError(f"{path}: cannot be read: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{error}; the file is damaged, fetch it again"
