"""The key process: the only code beside the token.  No web, no SQL, no DNS (docs/architecture.md)."""
