"""Gives every document a docid, a short sequence of docid tokens, and stores the docids as a trie.

In: row numbers, ids or vectors of the documents, as the kind of docids requires.
Out: codes (documents, length), docid vocabulary and trie, and what assigns a docid to a later document.
"""
