"""The T5 that maps texts to docids: its configuration, docid heads, step decoder, warm start, checkpoints and cost.

In: section `model` of the configuration, the tokenizer, the docids, and the documents for the warm start.
Out: a `DifferentiableSearchIndex` to train or to search, its document states and the FLOPs of its use.
"""
