"""The CA as its own customer: a small ACME client for the test sites and for the watch's canary."""
