"""An index that grows, through the command line, against sums written out by hand."""
