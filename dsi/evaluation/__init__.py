"""Measures every system on the evaluation queries, and says which differences are more than chance.

In: run files of the index and the baselines, the corpus with its relevance judgements, synthetic queries.
Out: `metrics.json` (means, intervals, comparisons, kinds of queries) and the measures of each query.
"""
