"""The outside-in watch: asks every public endpoint as a stranger would, and knows what strangers know."""
