"""An index that answers over HTTP, with a page to search it, and as tools of the Model Context Protocol."""
