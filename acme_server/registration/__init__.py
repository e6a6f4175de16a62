"""The registration authority's rules: what may be asked for, and what must be true before it is granted."""
