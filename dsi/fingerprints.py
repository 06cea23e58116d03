"""What a configuration key means for a fingerprint: its value, with the content of files in place of their paths.

So a folder that is moved, copied, touched or written in another way is the same, and a changed file is not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsi.artifacts import EDITABLE, MANIFEST
from dsi.config import Config, CorpusConfig, Section
from dsi.runtime.contents import Contents
from dsi.runtime.progress import say

CONTENT = "content"
CHECKPOINT_FILES = ("config.json", "modules.json")
"""Files of which every checkpoint has one: T5's and sentence-transformers'."""
NO_CONTENT = {MANIFEST, *EDITABLE}
"""Files of a stage's folder that change without its content."""


def with_contents(config: Config, key: str, contents: Contents, recorded: Any = None) -> Any:
    """The value of a dotted key as JSON, of a section without the keys that change nothing. Paths in it are
    `{"content": hash}`.

    A path that is gone counts as it was `recorded`, the value of the key when the stage was made, so that what is built
    goes on without its source.

    Raises:
        DsiError: the files of a corpus cannot be told from each other.
    """
    value = config[key]
    if not isinstance(value, Section):
        return _content(key, value, contents, recorded) if key in Config.paths() else value
    dumped = _used(value)
    for name in value.paths():
        *above, last = name.split(".")
        holder, old = dumped, recorded
        for part in above:
            holder, old = holder[part], old.get(part) if isinstance(old, dict) else None
        if last in holder:
            old = old.get(last) if isinstance(old, dict) else None
            source = value if isinstance(value, CorpusConfig) and last == "path" else None
            holder[last] = _content(f"{key}.{name}", holder[last], contents, old, source)
    return dumped


def _used(section: Section) -> dict[str, Any]:
    """The values of a section as JSON, without the keys that change nothing."""
    values = section.model_dump(mode="json", exclude=section.unused)
    below = {name: _used(each) for name in values if isinstance(each := getattr(section, name), Section)}
    return values | below


def _content(key: str, value: Any, contents: Contents, recorded: Any, source: CorpusConfig | None = None) -> Any:
    if isinstance(value, list):
        old = recorded if isinstance(recorded, list) and len(recorded) == len(value) else [None] * len(value)
        return [_content(key, each, contents, was) for each, was in zip(value, old, strict=True)]
    if value is None:
        return None
    path = Path(value)
    if not path.exists():  # a name of the hub, or what has been removed
        if not isinstance(recorded, dict) or CONTENT not in recorded:
            return value
        say(f"dsi: warning: {key}: {value} does not exist; it counts as what the run was made from")
        return recorded
    if key == "generator.extra":
        source = CorpusConfig(source="beir", path=value)
    if source is not None:
        return {CONTENT: contents.of_all(_source_files(source, path, contents))}
    if key == "doc2query.predictions.path":
        from dsi.doc2query.predictions import files_of

        return {CONTENT: contents.of_all({file.name: file for file in files_of(value)})}
    if path.is_dir() and not any((path / name).exists() for name in CHECKPOINT_FILES):
        return value  # which is no checkpoint, and may be a folder of anything: the check before the work refuses it
    return {CONTENT: contents.of(path, NO_CONTENT)}


def _source_files(corpus: CorpusConfig, path: Path, contents: Contents) -> Mapping[str, Path]:
    """The files that a source reads, by name, remembered as long as the files where it looks for them are the same."""

    def files() -> Mapping[str, Path]:
        from dsi.corpus.ingest import open_source

        return open_source(corpus).files

    if corpus.source == "documents":  # which looks at names only, and below all folders
        return files()
    below = [*path.glob("*"), *path.glob("qrels/*")] if path.is_dir() else []
    seen = [path, *(each for each in sorted(below) if each.is_file())]
    key = f"{corpus.source} {corpus.splits} {path.resolve()}"
    found = contents.remember(key, seen, lambda: sorted(files()))
    return {name: path / name if name != "." else path for name in found}
