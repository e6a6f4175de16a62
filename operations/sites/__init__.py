"""The test sites of BR 2.2, as a process of their own: a subscriber like any other."""
