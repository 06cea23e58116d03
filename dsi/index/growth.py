"""What an index keeps for documents that come later, in the folder `growth` of a saved one.

rows.safetensors   state_centre (d_model,): the mean document state, by which later states are centred; row_centre
                   (d_model,): the mean output row; mean_length (1,): the mean length of the output rows
generator.json     how synthetic queries were drawn, and of how many documents the words were counted
words.parquet      the number of documents that each word is in, by bin (see dsi.corpus.known_item)
replay.parquet     doc_index, text: a sample of the synthetic queries, to learn beside those of new documents

The centroids or codebooks that give a later document its docid are in the folder `docids`.
"""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

from dsi.artifacts import write_json
from dsi.config import CONFIG, Doc2QueryConfig, ModelConfig, read_part
from dsi.corpus.known_item import read_collection
from dsi.corpus.store import Corpus
from dsi.doc2query.shards import SCHEMA, count_queries, shard_paths
from dsi.index.parts import Parts
from dsi.model.build import open_index
from dsi.model.document_states import StateEncoder
from dsi.runtime.device import compute_device
from dsi.runtime.progress import progress

STATES = 2_000
"""The number of documents, evenly spaced, whose states make the centre."""
REPLAYED = 50_000
"""The most synthetic queries that are kept."""


def write_growth(folder: Path, parts: Parts) -> None:
    """Fill `folder` with what later documents need, from a run."""
    folder.mkdir(parents=True)
    corpus = Corpus(parts.corpus)
    model = open_index(parts.folders.model).to(compute_device())
    length = read_part(parts.folder / CONFIG, "model", ModelConfig).document_length
    encode = StateEncoder(model, parts.folders.tokenizer, length)
    sample = range(0, len(corpus), -(-len(corpus) // STATES))
    states = encode([corpus[number].content() for number in sample])
    rows = model.docid_head.weight.detach().float()
    tensors = {
        "state_centre": torch.from_numpy(states.mean(axis=0)),
        "row_centre": rows.mean(dim=0).cpu(),
        "mean_length": rows.norm(dim=1).mean()[None].cpu(),
    }
    expansion = read_part(parts.folder / CONFIG, "doc2query", Doc2QueryConfig)
    drawn = expansion.model_dump(mode="json", include={"known_item", "t5", "seed"})  # no paths of this machine
    write_json(folder / "generator.json", {**drawn, "documents": len(corpus)})
    save_file(tensors, folder / "rows.safetensors")
    shutil.copymode(folder / "generator.json", folder / "rows.safetensors")  # others could not read it
    if expansion.known_item.queries:
        contents = progress(corpus.contents(), "count words", total=len(corpus))
        frequencies = read_collection(contents, len(corpus)).frequencies
        bins = np.flatnonzero(frequencies)
        counted = {"bin": bins.astype(np.uint32), "documents": frequencies[bins]}
        pq.write_table(pa.table(counted), folder / "words.parquet", compression="zstd")
    _write_replay(folder / "replay.parquet", parts.folder / "doc2query")


def _write_replay(path: Path, doc2query_folder: Path) -> None:
    """Write every n-th synthetic query, so that there are no more than `REPLAYED`."""
    shards = shard_paths(doc2query_folder)
    stride, seen = max(1, -(-sum(map(count_queries, shards)) // REPLAYED)), 0
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for shard in shards:
            table = pq.read_table(shard, schema=SCHEMA)
            writer.write_table(table.take(pa.array(range(-seen % stride, len(table), stride), pa.int64())))
            seen += len(table)
