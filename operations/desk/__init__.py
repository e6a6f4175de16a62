"""What operators ask of the running CA, on the operator's socket: both ends of each conversation."""
