"""What a training step minimises, one file per objective.

In: the decoder states of one or more passes over a batch, the docid head and the target docids.
Out: the loss, a scalar.
"""
