"""Reads the signed manifest: is it whole, and by which keys?  Its holder is who the pinned thumbprint says.

Written anew here, by josepy, so that an error in the CA's own reader does not make it right.

RFC 7515 section 7.2.1 (general JSON serialization); RFC 7638; docs/relying-parties.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from josepy import b64
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from operations.watch.finding import Wrong

TYP = "acme-server-repository-manifest+json"
MOST_SIGNATURES = 10

_FORGED = "see who publishes there, and that it is the CA's own file"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was signed, and by keys of which thumbprints; `jws` is the whole of it."""

    octets: bytes = field(repr=False)
    said: dict[str, Any] = field(repr=False)
    thumbprints: tuple[str, ...]
    jws: bytes = field(default=b"", repr=False)


def read(jws: bytes, pinned: str = "") -> Manifest:
    """Check every signature.  Raises `Wrong`, also when none is by the `pinned` key."""
    try:
        document = json.loads(jws)
        payload, signatures = str(document["payload"]), document["signatures"][:MOST_SIGNATURES]
        octets = b64.b64decode(payload)
        thumbprints = tuple(_checked(payload, each) for each in signatures)
        said = json.loads(octets)
    except Wrong:
        raise
    except Exception as error:  # a stranger's JSON has many ways to be no manifest
        raise Wrong(f"no signed manifest that can be read: {type(error).__name__}", _FORGED) from error
    if not thumbprints or not isinstance(said, dict):
        raise Wrong("nobody signed the manifest", _FORGED)
    if pinned and pinned not in thumbprints:
        raise Wrong(
            f"the manifest is signed by {', '.join(thumbprints)}, and not by the pinned {pinned}",
            "ask the CA by another way whether it changed its manifest key; believe nothing until then",
        )
    return Manifest(octets, said, thumbprints, jws)


def _checked(payload: str, signature: dict[str, Any]) -> str:
    """The thumbprint of the key that made it."""
    protected = str(signature["protected"])
    header = json.loads(b64.b64decode(protected))
    if header["alg"] != "ES256" or header["typ"] != TYP or "crit" in header:
        raise Wrong("the manifest is signed in a way that is not agreed upon", _FORGED)
    key = JWKEC.from_json(header["jwk"])
    assert isinstance(key, JWKEC)
    octets = b64.b64decode(str(signature["signature"]))
    if not ES256.verify(key.key, f"{protected}.{payload}".encode(), octets):
        raise Wrong("a signature of the manifest is wrong", _FORGED)
    return b64.b64encode(key.thumbprint()).decode()
