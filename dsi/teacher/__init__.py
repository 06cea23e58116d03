"""A better system that labels the training queries: for each, its best documents with their scores (distillation).

In: synthetic and real training queries; postings, vectors of the documents, or scores of one's own.
Out: the stage folder `teacher/`, and from it the weight of each document as the answer to a training query.
"""
