"""An index that has changed, written anew: without its deleted documents, and with those added since among the others.

The model stays as it was trained. What was frozen since, in how many documents a word is, is counted again; the centres
of the states, by which documents that come later get their rows, are those of the training still.
"""

import shutil
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsi.artifacts import WORK, write_json
from dsi.corpus.store import DOCUMENTS, Corpus, Document, write_rows
from dsi.doc2query.shards import SCHEMA, SUFFIX
from dsi.docids.store import Docids, Vocabulary, write_docids
from dsi.errors import DsiError
from dsi.index.files import copy_files
from dsi.index.growth import (
    EMBEDDINGS,
    GENERATOR,
    GENERATOR_FILE,
    REPLAY,
    REPLAYED,
    ROWS,
    SETTINGS,
    UNTRAINED,
    write_words,
)
from dsi.index.opened import Opened
from dsi.index.segments import joined_rows
from dsi.lexical.index_terms import Terms, index_expanded_terms, index_terms
from dsi.model.build import DocidShape, open_index
from dsi.model.grown_head import with_weights
from dsi.runtime.system import link_or_copy


def write_living(opened: Opened, folder: Path) -> None:
    """Write the stage folders of an index, and what documents that come later need, to `folder`, without its deleted
    documents and with row numbers of its own.

    Raises:
        DsiError: no document is left, or an older version saved the index, which kept less than is needed.
    """
    parts = opened.parts
    if not len(opened):
        raise DsiError(f"{parts.folder}: no document is left, and an index has at least one")
    opened.growth.check()
    growth = folder / "growth"
    for each in (folder / "corpus", folder / "docids", growth):
        each.mkdir(parents=True)
    write_rows(folder / "corpus" / DOCUMENTS, Document, opened.corpus.living())
    copy_files(parts.folders.tokenizer, folder / "tokenizer")
    _write_model(opened, folder)
    _write_replay(opened, growth)
    if parts.folders.terms is not None and parts.folders.prior is not None:
        copy_files(parts.folders.prior, folder / "prior")
        _write_terms(opened, folder)
    for name in (EMBEDDINGS, GENERATOR):
        copy_files(opened.growth.folder / name, growth / name)
    copy_files(opened.growth.folder, growth, (ROWS, SETTINGS))
    write_json(growth / GENERATOR_FILE, {**opened.growth.drawn, "documents": len(opened)})
    if opened.growth.doc2query.known_item.queries:
        write_words(growth, Corpus(folder / "corpus"))


def _write_model(opened: Opened, folder: Path) -> None:
    """Write the docids and the model, with the rows of the documents that are there."""
    numbers, (docids, kind) = opened.numbers, opened.assigned
    model = opened.model_of(open_index(opened.parts.folders.model))
    codes, vocabulary = docids.codes, docids.vocabulary
    if docids.is_atomic:
        codes, vocabulary = np.arange(len(numbers), dtype=np.int32)[:, None], Vocabulary("atomic", len(numbers), 1)
    else:
        codes = codes[numbers]
    kind.save(folder / "docids")
    write_docids(folder / "docids", vocabulary, codes)
    written, config, weight = Docids(folder / "docids"), deepcopy(model.config), model.docid_head.weight.detach()
    if docids.is_atomic:
        added = joined_rows(opened.segments)
        weight = weight if added is None else torch.cat([weight, added.to(weight.dtype)])
        weight, config.docid_tokens = weight[torch.from_numpy(numbers)], len(numbers)
    elif config.docid_head == "hierarchical_softmax":
        weight = _rows_by_path(weight, docids, written, numbers)
        shape = DocidShape.of(written, config.docid_head)
        config.docid_nodes, config.docid_siblings = shape.nodes, shape.siblings
    with_weights(model, config, {"docid_head.weight": weight}).save_pretrained(folder / "model")


def _rows_by_path(weight: Tensor, before: Docids, after: Docids, numbers: NDArray[np.int64]) -> Tensor:
    """The rows of the nodes of a tree of some of the documents `before`, given by their row numbers: (nodes, d_model),
    those of the same paths. An inner node that has the row of a document that is gone, whose leaf it was before others
    joined, gets the mean row of the documents below it."""
    paths_before, paths_after = before.paths[numbers], after.paths
    exist = paths_after >= 0
    node_before = np.zeros(len(after.trie.token), dtype=np.int64)
    node_before[paths_after[exist]] = paths_before[exist]
    rows, leaves = weight[torch.from_numpy(node_before)], after.trie.leaf_of.astype(np.int64)
    gone = set(map(bytes, weight[torch.from_numpy(np.delete(before.trie.leaf_of, numbers).astype(np.int64))].numpy()))
    is_of_gone = np.array([bytes(row) in gone for row in rows.numpy()])
    for nodes in paths_after.T:
        below = np.flatnonzero((nodes >= 0) & is_of_gone[nodes] & (nodes != leaves))
        distinct, place, counts = np.unique(nodes[below], return_inverse=True, return_counts=True)
        sums = rows.new_zeros(len(distinct), rows.shape[1])
        sums.index_add_(0, torch.from_numpy(place), rows[torch.from_numpy(leaves[below])])
        rows[torch.from_numpy(distinct.astype(np.int64))] = sums / torch.from_numpy(counts).to(rows)[:, None]
    return rows


def _write_replay(opened: Opened, folder: Path) -> None:
    """Write the synthetic queries of the documents that are there: of those that the model was trained on at most
    twice as many as are kept of a run, of the others all."""
    kept = pq.read_table(opened.growth.folder / REPLAY, schema=SCHEMA)
    queries = pa.concat_tables([kept, *(segment.queries for segment in opened.segments)])
    owner = queries["doc_index"].to_numpy()
    is_there = ~np.isin(owner, opened.deleted)
    trained = np.flatnonzero(is_there & ~np.isin(owner, opened.untrained))
    stride = 1 if opened.parts.indexes_queries else max(1, len(trained) // REPLAYED)
    rows = np.union1d(trained[::stride], np.flatnonzero(is_there & np.isin(owner, opened.untrained)))
    number = np.searchsorted(opened.numbers, owner[rows]).astype(np.uint32)
    table = pa.table([number, queries["text"].take(pa.array(rows))], schema=SCHEMA)
    pq.write_table(table, folder / REPLAY, compression="zstd")
    if len(opened.untrained):
        np.save(folder / UNTRAINED, np.searchsorted(opened.numbers, opened.untrained).astype(np.uint32))


def _write_terms(opened: Opened, folder: Path) -> None:
    """Write the postings of the documents that are there."""
    assert opened.parts.folders.terms is not None
    language, corpus_folder = Terms(opened.parts.folders.terms).language, folder / "corpus"
    with TemporaryDirectory(dir=folder) as temporary:
        made = Path(temporary, "lexical")
        made.mkdir()
        if opened.parts.indexes_queries:
            link_or_copy(folder / "growth" / REPLAY, Path(temporary, f"shard-00000{SUFFIX}"))
            queries = Path(temporary)
            index_expanded_terms(made, language=language, corpus_folder=corpus_folder, doc2query_folder=queries)
        else:
            index_terms(made, language=language, corpus_folder=corpus_folder)
        shutil.rmtree(made / WORK)
        copy_files(made, folder / "lexical")
