"""Answers the evaluation queries with the systems that the index is compared with: BM25, dense retrieval,
a dual encoder trained here.

In: the corpus and its queries; synthetic queries, vectors or a trained dual encoder where a system needs them.
Out: per system a TREC run file and what it costs: seconds, bytes, FLOPs, latency; the dual encoder trained here.
"""
