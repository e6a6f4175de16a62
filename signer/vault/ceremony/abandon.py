"""Giving a ceremony up: what it made is destroyed, what it may have signed is kept to be revoked.

As many people as the ceremony needs must agree; each signs the transcript's head.  The keys that it made are
destroyed in their tokens, its own tokens thrown away; the next ceremony lists in its root CRL every serial
number that this one meant to sign.

Must never: touch a key or token that a sealed hierarchy knows.

BR 6.2.10; CPS 6.2.10.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from core.errors import ConfigurationError
from core.people import Identity
from signer import steps
from signer.vault.ceremony import past
from signer.vault.ceremony.draft import Draft
from signer.vault.ceremony.engine import Place, must_be_enough, sealed_base, settle
from signer.vault.ceremony.history import History
from signer.vault.ceremony.script import Script
from signer.vault.ceremony.tokens import Tokens, share_directory
from signer.vault.ceremony.transcript import (
    ABANDON_CONTEXT,
    BEGIN_CONTEXT,
    Abandoned,
    Begin,
    Event,
    Note,
    Signature,
    Transcript,
    Void,
)


def abandon(place: Place, present: Sequence[Identity], reason: str) -> Path:
    """Give the interrupted ceremony up, for good; its transcript.

    Killed half-way it can be run again.  Raises `ConfigurationError` when there is none, `Refused` for too
    few people.
    """
    settle(place)
    directory, begin = past.where(place.data)
    if begin is None:
        raise ConfigurationError(
            f"no ceremony is interrupted in {place.data.root}: there is nothing to give up"
        )
    base = sealed_base(place.data, begin)
    transcript = Transcript(directory / past.TRANSCRIPT, place.clock)
    try:
        history = History(Draft.of(base)).replay(transcript.lines)
        script = history.must_begin()[1]
        must_be_enough(place, script, present, base)
        _sign_in(transcript, history, script, present)
        configuration = directory / "softhsm2.conf"
        described = {token.label: token for token in script.tokens}
        tokens = Tokens(place.settings, place.data, configuration, described, tuple(present))
        try:
            _destroy(place, history, script, tokens, begin)
        finally:
            tokens.close()
            configuration.unlink(missing_ok=True)
        steps.ceremony("destroyed")
        shutil.rmtree(directory / "shares", ignore_errors=True)
        signatures = tuple(
            Signature(identity.person.id, identity.sign(ABANDON_CONTEXT, history.head))
            for identity in present
        )
        history.take(transcript.append(Event.ABANDONED, Abandoned(reason, signatures)))
    finally:
        transcript.close()
    return transcript.path


def _sign_in(transcript: Transcript, history: History, script: Script, present: Sequence[Identity]) -> None:
    history.take(transcript.append(Event.RESUME, Note("to be given up")))
    for identity in present:
        signed = identity.sign(BEGIN_CONTEXT, script.sha256 + history.begin_hash)
        history.take(transcript.append(Event.PRESENT, Signature(identity.person.id, signed)))
    if history.intent_open:
        void = Void("the ceremony is given up", history.burnt)
        history.take(transcript.append(Event.VOID, void, history.done + 1))


def _destroy(place: Place, history: History, script: Script, tokens: Tokens, begin: Begin) -> None:
    """The keys and tokens that this ceremony made, also those of a step that was under way."""
    base = sealed_base(place.data, begin)
    kept = Draft.of(base)
    under_way = script.steps[history.done] if not history.complete else None
    labels = {key.label: key.token for key in history.draft.keys.values()}
    if under_way is not None and under_way.KIND == "generate-key":
        labels[under_way.label] = under_way.token  # type: ignore[attr-defined]
    for label, token in labels.items():
        made_in = history.draft.tokens[token]
        # A token of this ceremony may be gone already, when the giving up was killed.
        if label not in kept.keys and (token in kept.tokens or tokens.is_there(token, made_in.role)):
            tokens.session(made_in).destroy(label)
    made = {label: token.role for label, token in history.draft.tokens.items() if label not in kept.tokens}
    if under_way is not None and under_way.KIND == "make-token" and history.intent is not None:
        label = under_way.token  # type: ignore[attr-defined]
        made[label] = next(token.role for token in script.tokens if token.label == label)
    for label, role in made.items():
        tokens.discard(label, role)
        shutil.rmtree(share_directory(place.data, label), ignore_errors=True)
