"""The corpus of a run or of a saved index, written in the formats of other tools.

beir    corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, which the source `beir` and BEIR's own tools read
trec    collection.tsv, topics.SPLIT.tsv and qrels.SPLIT.txt, and the run files of the run
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dsi.artifacts import check_files, read_manifest
from dsi.corpus.checks import check_text
from dsi.corpus.source import Where
from dsi.corpus.store import Corpus, Document, Query
from dsi.errors import DsiError
from dsi.index.opened import corpus_of
from dsi.index.saved import is_saved, open_saved
from dsi.runtime.new_folder import new_folder
from dsi.runtime.progress import progress, say
from dsi.runtime.tsv import write_tsv


def convert(source_folder: Path, to: str, folder: Path) -> None:
    """Write the corpus of a run or of a saved index, which has no queries, to a new folder in a format, beir or trec.

    Raises:
        DsiError: there is no finished corpus, the new folder exists already, or the format cannot hold an id or a text.
    """
    with new_folder(folder) as partial:
        corpus, run_files = _saved(source_folder) if is_saved(source_folder) else _of_run(source_folder)
        if to == "beir":
            write_beir(corpus, partial)
        else:
            _write_trec(corpus, partial)
            for path in run_files:
                shutil.copyfile(path, partial / path.name)


def _saved(folder: Path) -> tuple[Corpus, Iterable[Path]]:
    parts = open_saved(folder, {})
    if not parts.has_documents:
        raise DsiError(f"{folder} was saved without its documents, so there is nothing to convert")
    return corpus_of(parts), ()


def _of_run(run_folder: Path) -> tuple[Corpus, Iterable[Path]]:
    """The corpus of a run, and its run files."""
    corpus_folder = run_folder / "corpus"
    manifest = read_manifest(corpus_folder)
    if manifest is None:
        raise DsiError(f"{corpus_folder}: no finished stage corpus there; is {run_folder} a run?")
    check_files(corpus_folder)
    return Corpus(corpus_folder), _run_files(run_folder, manifest["fingerprint"])


def write_beir(corpus: Corpus, folder: Path) -> None:
    """Write documents, queries and judgements of a corpus to an empty folder, as the source `beir` reads them.

    Raises:
        DsiError: the format cannot hold an id, or a query has one text in one split and another in another.
    """
    documents = ({"_id": each.doc_id, "title": each.title, "text": each.text} for each in _documents(corpus))
    _write(folder / "corpus.jsonl", map(_json_line, documents))
    if corpus.splits:
        queries = ({"_id": query.query_id, "text": query.text} for query in _queries_of_all(corpus))
        _write(folder / "queries.jsonl", map(_json_line, queries))
        (folder / "qrels").mkdir()
    for split in corpus.splits:
        write_tsv(folder / f"qrels/{split}.tsv", ["query-id", "corpus-id", "score"], corpus.qrels(split))


def _write_trec(corpus: Corpus, folder: Path) -> None:
    rows = (
        f"{each.doc_id}\t{_on_one_line(each.content(), f'document {each.doc_id}')}\n" for each in _documents(corpus)
    )
    _write(folder / "collection.tsv", rows)
    for split in corpus.splits:
        queries = _queries(corpus, split)
        topics = (f"{each.query_id}\t{_on_one_line(each.text, f'query {each.query_id}')}\n" for each in queries)
        _write(folder / f"topics.{split}.tsv", topics)
        qrels = (f"{each.query_id} 0 {each.doc_id} {each.relevance}\n" for each in corpus.qrels(split))
        _write(folder / f"qrels.{split}.txt", qrels)


def _run_files(run_folder: Path, corpus: str) -> Iterator[Path]:
    """The run files of a run that are rankings of this corpus, which is given by its fingerprint."""
    for stage in ("search", "baselines"):
        manifest = read_manifest(run_folder / stage)
        if manifest is None:
            continue
        if manifest["inputs"].get("corpus/", corpus) != corpus:
            say(f"{run_folder / stage}: left out, it was not made from {run_folder / 'corpus'}")
            continue
        check_files(run_folder / stage)
        yield from sorted((run_folder / stage).glob("*.run"))


def _documents(corpus: Corpus) -> Iterator[Document]:
    """The documents, whose ids any format can hold; DsiError if one cannot be held."""
    name, living = str(corpus.folder / "documents.arrow"), len(corpus) - len(corpus.deleted)
    for number, document in enumerate(progress(corpus.living(), "convert", total=living), start=1):
        check_text(Where(name, number, "row"), "document", *document)
        yield document


def _queries(corpus: Corpus, split: str) -> Iterator[Query]:
    """The queries of a split, whose ids any format can hold; DsiError if one cannot be held."""
    name = str(corpus.folder / f"queries.{split}.arrow")
    for number, query in enumerate(corpus.queries(split), start=1):
        check_text(Where(name, number, "row"), "query", *query)
        yield query


def _queries_of_all(corpus: Corpus) -> Iterator[Query]:
    """The queries of all splits, each id once; DsiError if an id has one text in one split and another in another."""
    first: dict[str, tuple[str, str]] = {}
    for split in corpus.splits:
        for query in _queries(corpus, split):
            if query.query_id not in first:
                yield query
            text, where = first.setdefault(query.query_id, (query.text, split))
            if text != query.text:
                raise DsiError(
                    f"{corpus.folder}: query {query.query_id!r} has one text in split {where} and another in {split},"
                    " which have one file of queries in BEIR's format; convert to trec, or rename one of them"
                )


def _on_one_line(text: str, what: str) -> str:
    """The text with a blank for each run of white space; DsiError if it has NUL, which ends a line of some readers."""
    if "\0" in text:
        raise DsiError(f"{what} contains NUL, which a line of text cannot hold; remove it, or convert to beir")
    return " ".join(text.split())


def _json_line(record: Mapping[str, str]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def _write(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(lines)
