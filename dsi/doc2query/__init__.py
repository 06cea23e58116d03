"""Generates synthetic queries for every document, and fine-tunes the T5 that samples some of them.

In: the corpus, and real queries, a checkpoint or released predictions where the configuration asks for them.
Out: Parquet shards of (doc_index, query), a measure of their quality, and the fine-tuned generator.
"""
