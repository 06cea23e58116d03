"""The search index that a user holds: opened from a run, a saved folder or the hub, searched, explained, saved, shared.

In: the stage folders of a run and its section `search`, or a saved folder that has them. Out: for each text a ranked
list of hits with title and text, for one document why it has its score; a folder that needs nothing else.
"""
