"""Turns what the stages have left into the answer to a run: who wins, by how much, at what cost.

In: the manifests of all stages, metrics, run files and the corpus; for a comparison, several finished runs.
Out: a summary for the terminal, `report.md` and `report.html` of one run; `sweep.md`, a table and plots of several.
"""
