"""Parts of a pkilint document that cannot be read: whoever tries is interrupted by `Sealed`.

So that a validator which finishes has shown that it needs no such part (lint_profile.py).
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import Any, NoReturn

from pkilint.pkix.certificate import RFC5280Certificate


class Sealed(BaseException):
    """A sealed part was read.  No Exception, because pkilint makes a finding of every Exception."""


class SealableCertificate(RFC5280Certificate):  # type: ignore[misc]
    """A certificate whose octets can be sealed: `octets` is None then.  Its nodes are sealed one by one."""

    octets: bytes | None

    # Several validators ask for them at each name; pkilint parses them anew each time.
    not_before = cached_property(RFC5280Certificate.not_before.fget)
    not_after = cached_property(RFC5280Certificate.not_after.fget)

    @property
    def substrate(self) -> bytes:
        """What pkilint calls a document's octets."""
        if self.octets is None:
            raise Sealed("the document's octets")
        return self.octets

    @substrate.setter
    def substrate(self, octets: bytes) -> None:
        self.octets = octets


def seal(node: Any) -> None:
    """Seal the value of a node and all that is below."""
    seal_value(node, type(node.pdu))
    node.children = _SEALED_CHILDREN


def seal_value(node: Any, pdu_type: Any) -> None:
    """Seal a node's value, which has this type, but not its children, whose values are their own."""
    if not issubclass(pdu_type, _SealedValue):
        node.pdu = sealed_value(pdu_type)


class _SealedValue:
    """Of the type of what it stands for, which anyone may ask; everything else is an attribute at last."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return type(self)
        raise Sealed(name)


@cache
def sealed_value(pdu_type: Any) -> Any:
    """What stands for a value of this type that cannot be read."""
    return object.__new__(type(pdu_type.__name__, (_SealedValue, pdu_type), {}))


class _SealedChildren:
    def _refuse(self, *_: object) -> NoReturn:
        raise Sealed("children")

    __getattr__ = __getitem__ = __iter__ = __len__ = __bool__ = __contains__ = __eq__ = _refuse
    __hash__ = None  # type: ignore[assignment]


_SEALED_CHILDREN = _SealedChildren()
