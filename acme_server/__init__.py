"""The ACME server: speaks RFC 8555 to subscribers and keeps the registration authority's rules."""
