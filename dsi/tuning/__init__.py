"""Chooses on dev queries what an index or a baseline does not learn: the weight of a prior, BM25's parameters.

In: a system that answers, and the first dev queries with their judgements.
Out: for a prior the stage folder `prior/`: the weight and the epsilon that were best, and the value of all tried.
"""
