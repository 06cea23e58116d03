"""From one's own documents to an index, in one call: `dsi.build` and `dsi build`.

In: texts, pairs, mappings, a dataset, an iterator or a path, with queries and judgements or without. Out: an `Index`,
made by the stages of a run whose sizes follow the number of documents.
"""
