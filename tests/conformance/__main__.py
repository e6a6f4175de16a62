"""`python -m tests.conformance > docs/conformance.md`."""

from __future__ import annotations

from tests.conformance.page import page

print(page(), end="")
