"""What strangers send to validation, read by the readers that first meet it, whatever it is."""
