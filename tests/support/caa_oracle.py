"""A second reading of RFC 8659 and RFC 8657 for the tests to hold ours against: letter by letter, and slow.

It shares no line, no expression and no idea with `validation/caa.py` and `validation/caa_value.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ALNUM = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
UNDERSTOOD = ["issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"]

Record = tuple[int, str, bytes]
"""Flags, tag, value."""


class NotInGrammar(Exception):
    """The octets are no issue-value."""


@dataclass
class _Reader:
    """Reads by the productions of RFC 8659 section 4.2, one method each."""

    octets: bytes
    at: int = 0

    def peek(self) -> bytes:
        return self.octets[self.at : self.at + 1]

    def take(self) -> str:
        self.at += 1
        return chr(self.octets[self.at - 1])

    def wsp(self) -> None:
        while self.peek() in (b" ", b"\t"):
            self.at += 1

    def alnum(self) -> bool:
        return self.peek() != b"" and self.peek() in ALNUM

    def label(self) -> str:
        read = ""
        while self.alnum() or (self.peek() == b"-" and read):
            read += self.take()
        if not read or read[-1] == "-":
            raise NotInGrammar
        return read

    def issuer_domain_name(self) -> str:
        read = self.label()
        while self.peek() == b".":
            read += self.take() + self.label()
        return read

    def parameter(self) -> tuple[str, str]:
        tag = self.label()
        self.wsp()
        if self.peek() != b"=":
            raise NotInGrammar
        self.take()
        self.wsp()
        value = ""
        while self.peek() and 0x21 <= self.peek()[0] <= 0x7E and self.peek() != b";":
            value += self.take()
        return tag.lower(), value

    def issue_value(self) -> tuple[str, list[tuple[str, str]]]:
        parameters = []
        self.wsp()
        issuer = self.issuer_domain_name() if self.alnum() else ""
        self.wsp()
        if self.peek() == b";":
            self.take()
            self.wsp()
            if self.peek():
                parameters.append(self.parameter())
                self.wsp()
                while self.peek() == b";":
                    self.take()
                    self.wsp()
                    parameters.append(self.parameter())
                    self.wsp()
        if self.peek():
            raise NotInGrammar
        return issuer.lower(), parameters


def issue_value(octets: bytes) -> tuple[str, list[tuple[str, str]]] | None:
    """Issuer and parameters, tags in lower case; None for what is not in the grammar."""
    try:
        return _Reader(octets).issue_value()
    except NotInGrammar:
        return None


def permits(
    records: Sequence[Record], wildcard: bool, identities: set[str], account_url: str, method: str
) -> bool:
    """Whether the relevant RRset lets an issuer with these names issue."""
    issue, issuewild = [], []
    for flags, tag, value in records:
        critical = flags >= 128 or flags % 2 == 1  # 1 is our own strictness (validation.md section 4)
        if critical and tag.lower() not in UNDERSTOOD:
            return False
        if tag.lower() == "issue":
            issue.append(value)
        if tag.lower() == "issuewild":
            issuewild.append(value)
    asked = issuewild if wildcard and len(issuewild) > 0 else issue
    return len(asked) == 0 or any(_satisfied(value, identities, account_url, method) for value in asked)


def climb(levels: Sequence[Sequence[Record] | str | None]) -> Sequence[Record] | str:
    """The relevant RRset by RFC 8659 section 3, or "failure".

    `levels` go from the name up to the top level: a set, None for NXDOMAIN, "failure" for no answer.
    """
    for depth, level in enumerate(levels):
        top = depth == len(levels) - 1
        if level == "failure" or (level is None and top):
            return "failure"
        if level is not None and len(level) > 0:
            return level
    return []


def _satisfied(value: bytes, identities: set[str], account_url: str, method: str) -> bool:
    read = issue_value(value)
    if read is None:
        return False
    issuer, parameters = read
    if issuer not in identities:
        return False
    accounts = [found for tag, found in parameters if tag == "accounturi"]
    methods = [found for tag, found in parameters if tag == "validationmethods"]
    if accounts and accounts != [account_url]:
        return False
    if not methods:
        return True
    if len(methods) > 1:
        return False
    labels = methods[0].split(",")
    for label in labels:
        if label == "" or any(ord(letter) not in ALNUM + b"-" for letter in label):
            return False
    return method in labels
