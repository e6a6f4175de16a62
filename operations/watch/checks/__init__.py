"""One file for each kind of thing that a stranger can ask."""
