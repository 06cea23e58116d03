"""Trains the index: from texts (queries, parts of documents) to the docids of their documents.

In: the corpus, synthetic queries, docids, and a checkpoint or the sizes of a model.
Out: the best model by RR@10 on the dev queries, its dev curve and a record of the training.
"""
