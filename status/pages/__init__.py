"""Pages for people that are more than files: the status of a certificate, the report of a problem."""
