"""What each document asks of a server, clause by clause, and the tests that show it: docs/conformance.md."""
