"""Which documents there are, where they stand and which setting names their version.

RFC 3647 (the CP/CPS); BR 9.6.3 (the subscriber agreement).
"""

from __future__ import annotations

import re
from enum import StrEnum

from core.settings import Settings

VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}")
"""A version: numbers with dots, which stand in the names of files."""


class Document(StrEnum):
    """A document, by the beginning of its files' names."""

    CP_CPS = "cp-cps"
    TERMS = "terms"

    @property
    def directory(self) -> str:
        """Of the public tree."""
        return "cps" if self is Document.CP_CPS else "terms"

    @property
    def setting(self) -> str:
        """The setting that names the version in force."""
        return "ca.cps_version" if self is Document.CP_CPS else "ca.terms_version"

    def version(self, settings: Settings) -> str:
        """The version in force by these settings."""
        return settings.ca.cps_version if self is Document.CP_CPS else settings.ca.terms_version

    def file(self, version: str, language: str, suffix: str) -> str:
        """Its public name: "cps/cp-cps-1.0.en.md"."""
        return f"{self.directory}/{self}-{version}.{language}.{suffix}"
