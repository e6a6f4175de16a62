"""The custody of a private key: in which two ways it may exist, and how a token is made to prove which.

Every CA key has exactly one class, chosen at the ceremony and sealed there.  A token is free to answer "ok"
to a template and to do something else, so the attributes are read back: after generation, after a restore,
and at every start of the vault.

Must never: accept a key that is of no class, or of another than the one that was sealed.

PKCS#11 v2.40 section 4.9 (private key attributes); BR 6.2.6, 6.2.7; CPS 6.2.4, 6.2.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

from pkcs11 import Attribute
from pkcs11.exceptions import PKCS11Error

from core.errors import HaltIssuance


class Custody(StrEnum):
    """How a private key may leave its token: never, or only under a wrapping key that people trusted."""

    SEALED = "sealed"
    """Not extractable: a backup is a clone by the vendor's own means, or of SoftHSM2's token directory."""

    WRAPPED = "wrapped"
    """Extractable, but only encrypted under a key that the security officer marked CKA_TRUSTED."""


_SIGNS_ONLY: Mapping[Attribute, bool] = {
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.SIGN: True,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
    Attribute.DERIVE: False,
}
_CLASSES: Mapping[Custody, Mapping[Attribute, bool]] = {
    Custody.SEALED: {**_SIGNS_ONLY, Attribute.EXTRACTABLE: False},
    Custody.WRAPPED: {**_SIGNS_ONLY, Attribute.EXTRACTABLE: True, Attribute.WRAP_WITH_TRUSTED: True},
}
_HISTORIES: Mapping[Custody, Mapping[Attribute, bool]] = {
    # Born here, and never in a state in which it could have been taken out.
    Custody.SEALED: {
        Attribute.LOCAL: True,
        Attribute.ALWAYS_SENSITIVE: True,
        Attribute.NEVER_EXTRACTABLE: True,
    },
    # LOCAL tells the key of the ceremony from a restored one (`is_local`); both are good.
    Custody.WRAPPED: {Attribute.NEVER_EXTRACTABLE: False},
}


class Attributes(Protocol):
    """Whatever has attributes: a key's handle in a session."""

    def __getitem__(self, attribute: Attribute) -> Any:
        """An attribute's value."""


def template(custody: Custody) -> dict[Attribute, Any]:
    """What a token is asked for when it makes or unwraps a private key of this class."""
    return dict(_CLASSES[custody])


def must_be(label: str, key: Attributes, custody: Custody, *, tells_local: bool = True) -> None:
    """Read a private key's attributes back.  Raises `HaltIssuance` when it is not of this class.

    `tells_local` is false for a module that forgets CKA_LOCAL (modules.py); NEVER_EXTRACTABLE is then the
    only witness that a sealed key was born in the token.
    """
    for attribute, wanted in {**_CLASSES[custody], **_HISTORIES[custody]}.items():
        if attribute is Attribute.LOCAL and not tells_local:
            continue
        try:
            value = key[attribute]
        except PKCS11Error as error:
            raise HaltIssuance(
                f"the token does not tell {attribute.name} of key {label!r} ({type(error).__name__}), so "
                f"nobody can say that its custody is {custody}: use another token, or another custody"
            ) from error
        if value is not wanted:
            raise HaltIssuance(
                f"key {label!r} has {attribute.name} = {value}, not {wanted} as {custody} custody wants: "
                "it was not made in this token by our ceremony; do not use it"
            )


def is_local(key: Attributes) -> bool:
    """Whether the key was generated in this very token: false after a restore, and for ever."""
    return bool(key[Attribute.LOCAL])
