"""The words of the documents: postings that answer a query by BM25 in less than a millisecond, without Java.

In: documents, for `lexical_doc2query/` with their synthetic queries, and the language that says how texts are cut into
terms.
Out: the stage folder `lexical/` or `lexical_doc2query/`, postings of documents that come later, and for a batch of
queries the best documents with their scores.
"""
