"""What the app watches while it runs, and tells people of in its log, metrics and `acme-server status`."""
