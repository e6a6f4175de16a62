"""CRLs: made, checked and published for every issuer and shard (RFC 5280 section 5)."""
