"""An index as other toolkits for retrieval take it: a Transformer of PyTerrier, a search model of MTEB.

In: an index, or its folder; queries in the form of these packages, of which each is imported by its own module alone.
Out: rankings in their form, by which they measure what `dsi evaluate` measures, query by query.
"""
