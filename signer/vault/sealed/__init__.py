"""The hierarchy as the root key sealed it: who may sign what, and for how long."""
