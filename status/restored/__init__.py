"""A register that was restored from a backup, brought together with what was signed and published since."""
