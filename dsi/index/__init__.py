"""The search index that a user holds: loaded from a finished run, searched with texts, exported to a folder.

In: the stage folders corpus, tokenizer, docids and model, and section `search` of the configuration.
Out: for each text a ranked list of hits, with title and text, and for one document why it has its score.
"""
