"""What the handlers work with: chosen in operations/wiring.py, given to `app.build`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from acme_server.changes import Changes
from acme_server.registration.binding_secret import BindingSecret
from acme_server.urls import Urls
from core.blocklist import Blocklist
from core.clock import Clock
from core.database import Database
from core.ephemeral import Buckets, Nonces
from core.high_risk import HighRisk
from core.randomness import Randomness
from core.settings import Settings
from validation.mpic.foresight import Foresight


class Foreseer(Protocol):
    """What this room needs of `validation.mpic.foresight.Foreseer`."""

    async def look(
        self, name: str, account_url: str, methods: Sequence[str], thumbprints: Sequence[str]
    ) -> Foresight:
        """What validations of `name` would meet.  Raises `TransientError` when there is no place."""


@dataclass(frozen=True, slots=True)
class Context:
    """The parts that a handler may use; there is no key, no resolver and no vault among them.

    `chains` maps an issuer id to its chains in PEM, the default one first: each begins with the issuing
    certificate and leaves its trust anchor out.  It grows with a rollover.  `wake_jobs` tells
    the job runner that a row is waiting, `on_revocation` the CRL updater; both return at once.  `changes` is
    what `app.job_handlers` was given, so that polls hear of finished jobs.  `binding_secret` is what the keys
    of external accounts are derived from.  `blocklist` are the keys that the operator wants nobody to use,
    `high_risk` the names for which an order waits for a person.
    """

    settings: Settings
    database: Database
    clock: Clock
    randomness: Randomness
    nonces: Nonces
    buckets: Buckets
    foreseer: Foreseer
    urls: Urls
    changes: Changes
    chains: Mapping[str, Sequence[bytes]]
    wake_jobs: Callable[[], None]
    on_revocation: Callable[[], None]
    binding_secret: BindingSecret
    blocklist: Blocklist = field(default_factory=Blocklist)
    high_risk: HighRisk = field(default_factory=HighRisk)
