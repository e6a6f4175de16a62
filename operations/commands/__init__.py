"""What a person types: the commands of `acme-server`, and the lists of options that they share."""
