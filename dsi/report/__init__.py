"""Turns what the stages have left into the answer to a run: who wins, by how much, at what cost.

In: the manifests of all stages, metrics, run files and the corpus; for a comparison, several finished runs.
Out: a summary for the terminal, and a report of one run, of several or of a sweep: Markdown, a page, tables, figures.
"""
