"""OCSP: requests read, answers signed and kept, every one of them true at the moment it leaves (RFC 6960)."""
