"""A finished run of the tiny corpus, whose values query by query other tools are to find, too."""

from pathlib import Path

from conftest import tiny_documents

from dsi.config import load_config
from dsi.pipeline import Run
from dsi.runtime.tsv import read_tsv

MEASURES = ["RR@10", "nDCG@10", "R@20"]
CONFIG = """
corpus: {{source: msmarco, path: data, ignore_identical_ids: {identical}}}
tokenizer: {{vocabulary: 200}}
doc2query: {{known_item: {{queries: 5}}}}
docids: {{kind: semantic, clusters: 4, leaf_size: 4}}
model: {{d_model: 16, d_kv: 4, d_ff: 16, num_layers: 1, num_decoder_layers: 1}}
training: {{steps: 20, eval_steps: 20, batch_size: 16, warmup_steps: 1, dev_queries: 4}}
search: {{prior: bm25, beam: 20, latency_queries: 0}}
baselines: {{systems: []}}
evaluation: {{measures: [RR@10, nDCG@10, R@20]}}
"""


def evaluated_run(folder: Path, identical: bool) -> Path:
    """The folder of a run with a docid tree, whose beams depend on their width. Every second query has the id of a
    document, which it shares three words with, and is left out of its ranking if `identical`; two documents are
    relevant to each, one of which is the next."""
    documents, data = tiny_documents(), folder / "data"
    data.mkdir(parents=True)
    lines = (f"{document.doc_id}\t{document.content()}\n" for document in documents)
    (data / "collection.tsv").write_text("".join(lines))
    for split, first in (("dev", 0), ("test", 3)):
        queries, qrels = "", ""
        for number in range(first, len(documents) - 1, 6):
            document, after = documents[number : number + 2]
            query = document.doc_id if number % 4 == first % 4 else f"{split}{number}"
            queries += f"{query}\t{' '.join([*document.text.split()[3:6], *after.text.split()[:2]])}\n"
            relevant = [after] if query == document.doc_id else [document, after]
            qrels += "".join(f"{query}\t0\t{each.doc_id}\t{grade}\n" for grade, each in enumerate(relevant, start=1))
        (data / f"queries.{split}.tsv").write_text(queries)
        (data / f"qrels.{split}.tsv").write_text(qrels)
    (folder / "tiny.yaml").write_text(CONFIG.format(identical=str(identical).lower()))
    run = Run(load_config(folder / "tiny.yaml"), "tiny", folder / "runs")
    run.run(["evaluation"])
    return run.folder


def values_of(run: Path, system: str, measure: str) -> dict[str, float]:
    """What `dsi evaluate` has found for each query."""
    rows = read_tsv(run / "evaluation/per_query.tsv")
    return {row["query_id"]: float(row[measure]) for row in rows if row["system"] == system}
