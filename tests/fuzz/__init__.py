"""What strangers send, to validation or to the ACME server, read by the readers that first meet it."""
