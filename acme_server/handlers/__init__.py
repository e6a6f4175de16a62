"""One file for each RFC 8555 resource.  A handler sees only authenticated requests and returns a `Reply`."""
