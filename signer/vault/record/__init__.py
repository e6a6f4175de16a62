"""What the vault did: a hash-chained journal that only grows."""
