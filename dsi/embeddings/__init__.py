"""Gives every document a vector, from which docids are clustered.

In: the contents of the documents, and for some kinds a backbone, a sentence encoder or a file of vectors.
Out: `vectors.npy` (documents, width), and the encoder that gives a later text its vector.
"""
