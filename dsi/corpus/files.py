"""The text files of a source, read line by line: plain, compressed with gzip or zstd, or inside a .tar.gz."""

import gzip
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pyarrow as pa

from dsi.corpus.source import Where
from dsi.corpus.store import MAX_TEXT
from dsi.errors import DsiError

ARCHIVES = (".tar.gz", ".tgz")
COMPRESSED = (".gz", ".zst")
"""The endings of the names of files that are compressed."""
DAMAGE = (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, OverflowError, RecursionError)
"""What gzip and tarfile raise for files that are damaged or made to do harm."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NOT_TEXT = {
    b"\xff\xfe": "UTF-16; convert it, e.g. with iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "UTF-16; convert it, e.g. with iconv -f UTF-16 -t UTF-8",
    b"\x1f\x8b": "compressed with gzip; give its name the ending .gz",
    b"version https://git-lfs": "a Git LFS pointer, not the file; fetch it with git lfs pull",
}
"""How files begin that are not plain text, and what they are."""
MAX_LINE = MAX_TEXT
"""The longest line, in bytes, so that a small compressed file cannot fill the memory."""
MAX_RELEVANCE = 2**31 - 1
MAX_HEADER = 1 << 20
"""The longest header of a member of an archive, in bytes; tarfile holds one in memory."""
MAX_MEMBERS = 100_000
MAX_NAME = 4_096
"""The longest path of a member of an archive, in characters; longer ones are not ours."""
BLOCK = 1 << 20


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

    def lines(self, *, blank: bool = False) -> Iterator[tuple[Where, str]]:
        r"""The lines, those that are empty only if `blank`, with their places and without their end, \n or \r\n.

        Raises:
            DsiError: the file cannot be read, is damaged, is not UTF-8, or a line is longer than `MAX_LINE`.
        """
        name, number = self.name, 0
        try:
            with self.open() as stream:
                while line := stream.readline(MAX_LINE + 1):
                    number += 1
                    where = Where(name, number)
                    if number == 1:
                        line = _first_line(where, line)
                    if len(line) > MAX_LINE:
                        raise DsiError(f"{where}: longer than {MAX_LINE:,} bytes; shorten it, or cut it into several")
                    text = _decode(where, line).rstrip("\r\n")
                    if text or blank:
                        yield where, text
        except DAMAGE as error:
            place = f" after line {number}" if number else ""
            raise DsiError(f"{name}: cannot be read{place}: {_reason(error)}") from None

    @contextmanager
    def open(self) -> Iterator[IO[bytes] | gzip.GzipFile | io.BufferedReader]:
        """The bytes of the file, uncompressed."""
        if self.member is not None:
            with _open_archive(self.path) as archive:
                entry = next(entry for entry in _entries(archive) if entry.name == self.member)
                stream = archive.extractfile(entry)
                assert stream is not None  # only regular files are found
                yield stream
        elif self.path.suffix == ".gz":
            with gzip.open(self.path) as compressed:
                yield compressed
        elif self.path.suffix == ".zst":
            with pa.CompressedInputStream(pa.OSFile(str(self.path)), "zstd") as unpacked:
                yield io.BufferedReader(unpacked)
        else:
            with self.path.open("rb") as plain:
                yield plain


class Folder:
    """The files of a source: in a folder, as they are, with .gz added or in archives there; or all in one archive.

    A file as it is comes before the same with .gz, and both come before one in an archive. Of the files in archives
    that have the same name, the topmost is meant.
    """

    def __init__(self, path: str) -> None:
        """Open the folder or archive `path`; DsiError if it is neither."""
        self.path = Path(path)
        if not self.path.exists():
            raise DsiError(f"corpus.path: {path} does not exist")
        if not self.path.is_dir() and not (self.path.is_file() and self.path.name.endswith(ARCHIVES)):
            raise DsiError(f"corpus.path: {path} is neither a folder nor a .tar.gz")
        self._found: dict[str, TextFile | None] = {}

    def find(self, name: str) -> TextFile | None:
        """The file `name`, or None if there is no such file.

        Raises:
            DsiError: there is something of this name that is no regular file, or several files could be meant.
        """
        if name not in self._found:
            self._found[name] = self._on_disk(name) or self._in_archives(name)
        return self._found[name]

    def present(self, *names: str) -> dict[str, bool]:
        """Whether each of these files exists, by path."""
        return {str(self.path / name): self.find(name) is not None for name in names}

    def get(self, name: str) -> TextFile:
        """The file `name`; DsiError if there is no such file."""
        file = self.find(name)
        if file is None:
            raise DsiError(f"there is no {self.path / name} (nor with .gz, nor in a .tar.gz there)")
        return file

    def paths(self, *files: TextFile) -> dict[str, Path]:
        """The files on disk that hold these files, by their names in the folder; "." is the folder's own path."""
        return {file.path.relative_to(self.path).as_posix(): file.path for file in files}

    def _on_disk(self, name: str) -> TextFile | None:
        for path in (self.path / name, self.path / f"{name}.gz"):
            if path.is_file():
                return TextFile(path)
            if path.is_symlink() and not path.exists():
                raise DsiError(f"{path} is a link to {path.readlink()}, which does not exist")
            if path.exists():
                raise DsiError(f"{path} is no regular file; put the file itself there, or remove it")
        return None

    def _in_archives(self, name: str) -> TextFile | None:
        parts = PurePosixPath(name).parts
        candidates = [
            (len(PurePosixPath(member).parts), is_regular, TextFile(archive, member))
            for archive, members in self._archives.items()
            for member, is_regular in members
            if PurePosixPath(member).parts[-len(parts) :] == parts
        ]
        if not candidates:
            return None
        top = min(depth for depth, *_ in candidates)
        files = []
        for depth, is_regular, file in candidates:
            if depth == top and not is_regular:
                raise DsiError(f"{file.name} is a link or a device, which is not followed; pack the file itself")
            if depth == top:
                files.append(file)
        for other in files[1:]:
            if other == files[0] or not _same_content(files[0], other):
                raise DsiError(f"{files[0].name} and {other.name} are two different files; remove one of them")
        return files[0]

    @cached_property
    def _archives(self) -> Mapping[Path, list[tuple[str, bool]]]:
        """The members of each archive, and whether each is a regular file."""
        try:
            paths = [self.path] if self.path.is_file() else sorted(self.path.iterdir())
        except OSError as error:
            raise DsiError(f"{self.path}: cannot be read: {_reason(error)}") from None
        archives = [path for path in paths if path.is_file() and path.name.endswith(ARCHIVES)]
        return {path: _list_archive(path, path.stat().st_size, path.stat().st_mtime_ns) for path in archives}


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
    if not re.fullmatch(r"[+-]?[0-9]+", text.strip()):
        header = ", or is this a header?" if where.number == 1 else ""
        raise DsiError(f"{where}: relevance must be a whole number, found {text[:60]!r}{header}")
    # Longer than any 32-bit number: int() of thousands of digits fails.
    if len(text.strip().lstrip("+-0")) > 10 or abs(int(text)) > MAX_RELEVANCE:
        raise DsiError(f"{where}: relevance {text[:60]!r} is out of range")
    return int(text)


def _first_line(where: Where, line: bytes) -> bytes:
    """The first line without a byte order mark; DsiError if it shows that the file is not one of lines of UTF-8."""
    for beginning, what in NOT_TEXT.items():
        if line.startswith(beginning):
            raise DsiError(f"{where.name}: is {what}")
    if not line.endswith(b"\n") and b"\r" in line.rstrip(b"\r"):
        raise DsiError(f"{where.name}: its lines end in CR alone; convert them to LF, e.g. with tr '\\r' '\\n'")
    return line.removeprefix(BYTE_ORDER_MARK)


def _decode(where: Where, line: bytes) -> str:
    if b"\0" in line:
        raise DsiError(
            f"{where}: byte {line.index(0) + 1} of the line is NUL; convert the file if it is UTF-16, e.g. with iconv,"
            " or remove these bytes"
        )
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise DsiError(
            f"{where}: not UTF-8, byte {error.start + 1} of the line is 0x{line[error.start]:02x}; convert the file,"
            " e.g. with iconv"
        ) from None


class _Archive(gzip.GzipFile):
    """The stream of an archive, of which tarfile cannot read a header into memory that is longer than `MAX_HEADER`."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return super().read(size)


@contextmanager
def _open_archive(path: Path) -> Iterator[tarfile.TarFile]:
    # tarfile's own mode for gzip would not notice damage.
    with _Archive(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        yield archive


def _entries(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (entry := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # it would keep all
        yield entry


@cache
def _list_archive(path: Path, size: int, time: int) -> list[tuple[str, bool]]:
    """The names of all members but folders, and whether each is a regular file; DsiError if the archive is damaged.

    To list one takes as long as to unpack it, and a source is opened several times, so that is done once for an archive
    of this size and time of change.
    """
    names = []
    try:
        with _open_archive(path) as archive:
            for number, entry in enumerate(_entries(archive)):
                if number == MAX_MEMBERS:
                    raise DsiError(f"{path}: more than {MAX_MEMBERS:,} members; pack the files of the corpus alone")
                if not entry.isdir() and len(entry.name) <= MAX_NAME:
                    names.append((entry.name, entry.isfile()))
            assert archive.fileobj is not None
            while archive.fileobj.read(BLOCK):  # the checksum stands at the very end
                pass
    except DAMAGE as error:
        raise DsiError(f"{path}: cannot be read: {_reason(error)}") from None
    return names


def _same_content(first: TextFile, second: TextFile) -> bool:
    with first.open() as one, second.open() as other:
        while (block := one.read(BLOCK)) == other.read(BLOCK):
            if not block:
                return True
    return False


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{error}; the file is damaged, fetch it again"
