"""What a person signs for the vault, octet for octet: the same words on both sides.

The vault shows a session key that is new after every start, opening and closing.  Whoever activates seals the
share to that key and signs; whoever agrees to a closing or to a resumption signs.  So nothing that was said
once can be said again by somebody else.

Must never: put a share on the wire that is not sealed to the vault's session key.

RFC 9180; BR 6.2.8, 6.2.9; CPS 6.2.8, 6.2.9, 6.4; docs/adr/0007-activation.md.
"""

from __future__ import annotations

from core.people import Identity, seal_to
from signer.api import ActivateRequest, ActivationState, ConsentRequest

ACTIVATE, DEACTIVATE, RESUME = b"activate", b"deactivate", b"resume"
"""The purposes that people sign for (`core.people.verify`)."""


def activation(identity: Identity, part: bytes, index: int, state: ActivationState) -> ActivateRequest:
    """Hand over the opened share `part`, number `index`, to the vault that shows `state`."""
    sealed = seal_to(state.session_key, share_info(state, index), part)
    return ActivateRequest(
        identity.person.id, index, sealed, identity.sign(ACTIVATE, activation_octets(state, index, sealed))
    )


def consent(identity: Identity, purpose: bytes, actor: str, state: ActivationState) -> ConsentRequest:
    """Agree to `purpose`, `DEACTIVATE` or `RESUME`."""
    signature = identity.sign(purpose, consent_octets(purpose, state))
    return ConsentRequest(actor, identity.person.id, signature)


def share_info(state: ActivationState, index: int) -> bytes:
    """What a share on its way is sealed under."""
    return b"acme-server activation v1\x00" + state.session_key + bytes([index]) + state.token.encode()


def activation_octets(state: ActivationState, index: int, sealed: bytes) -> bytes:
    """What is signed with a share."""
    return state.session_key + bytes([index]) + state.token.encode() + b"\x00" + sealed


def consent_octets(purpose: bytes, state: ActivationState) -> bytes:
    """What is signed with a consent; to resume, it names the halt that is to end."""
    halt = state.halt if purpose == RESUME else 0
    return state.session_key + halt.to_bytes(8) + state.token.encode()
