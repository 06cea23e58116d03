"""Docid heads, a file each: from decoder states to the probability of the next docid token."""
