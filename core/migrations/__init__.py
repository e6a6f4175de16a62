"""Numbered SQL files, applied in order, each in its own transaction."""
