"""Reads a collection and keeps it on disk for all later stages.

In: a published collection (MS MARCO or BEIR files, ir_datasets) or installed documentation.
Out: documents, queries and relevance judgements as Arrow files, read through `store.Corpus`.
"""
