"""Finds the most probable docids of queries: constrained beam search, exact search, atomic docids, TREC run files.

In: a trained model, the docids, and queries as texts or token ids.
Out: rankings of documents with scores and certificates, run files, search errors, latency and memory.
"""
