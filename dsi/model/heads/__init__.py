"""The docid heads, one file per head, which compute the probability of the next docid token.

In: decoder states, with the target docids of a training batch or the expansions of a beam.
Out: log-probabilities in the layouts of `dsi.model.heads.layout`.
"""
