"""What a step of a ceremony is, and what the script's check knows of the steps before it.

A step kind is a frozen dataclass whose fields are its keys in the script.  `check` judges it before anything
happens, `perform` does it and returns what is to be remembered, `apply` brings that into the draft: after
`perform`, and again from the transcript when a ceremony is resumed.  Nothing else changes the draft.
`kinds.py` is the table of them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from core.errors import ConfigurationError
from core.people import Person
from signer.vault.ceremony.transcript import Intent
from signer.vault.sealed.hierarchy import ROOT_ID
from signer.vault.sealed.seal import Hierarchy, TokenRole
from signer.vault.tokens.keys import KeyAlgorithm

if TYPE_CHECKING:
    from signer.vault.ceremony.draft import Draft
    from signer.vault.ceremony.room import Room

ROOT = ROOT_ID


@dataclass(frozen=True, slots=True)
class TokenPlan:
    """[[tokens]]  A token: who holds the shares of its PIN (ids or names), and how many open it.

    No threshold and no holders: as the policy has it, all people.  `directory` is SoftHSM2's, `certificate`
    the validation that covers the device ("FIPS 140-3 #4735").
    """

    label: str
    role: TokenRole
    threshold: int = 0
    holders: tuple[str, ...] = ()
    directory: str = ""
    certificate: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """[policy]  How many must be `present`, of how many; 0 of 0 is the embedded set-up, without people."""

    present: int = 3
    of: int = 5


@dataclass(slots=True)
class Plan:
    """The CA as it will be after the steps so far, by names only."""

    policy: Policy
    people: tuple[Person, ...]
    described: dict[str, TokenPlan]
    existing: bool
    tokens: dict[str, TokenRole] = field(default_factory=dict)
    keys: dict[str, tuple[str, KeyAlgorithm | None]] = field(default_factory=dict)
    certified: set[str] = field(default_factory=set)
    pinned: bool = False
    uncovered: str = ""
    sealed: bool = False

    @classmethod
    def of(
        cls,
        policy: Policy,
        people: tuple[Person, ...],
        described: dict[str, TokenPlan],
        hierarchy: Hierarchy | None,
    ) -> Plan:
        """Where a ceremony begins: with nothing, or with the sealed hierarchy."""
        plan = cls(policy, people, described, hierarchy is not None)
        if hierarchy is not None:
            plan.tokens = {token.label: token.role for token in hierarchy.tokens}
            root, issuing = (_label(hierarchy, role) for role in TokenRole)
            plan.keys = {each.label: (issuing, None) for each in hierarchy.issuers}
            plan.keys[ROOT] = (root, None)
            plan.certified = {ROOT} | {each.id for each in hierarchy.issuers}
            plan.pinned = True
        return plan

    def holders(self, token: TokenPlan) -> tuple[Person, ...]:
        """Who holds a share of the token's PIN.  Raises `ConfigurationError` for a name that is nobody's."""
        if not token.holders:
            return self.people
        named = {each.name: each for each in self.people} | {each.id: each for each in self.people}
        for name in token.holders:
            if name not in named:
                raise ConfigurationError(
                    f"token {token.label!r}: no [[people]] is {name!r}; there are {', '.join(sorted(named))}"
                )
        return tuple(dict.fromkeys(named[name] for name in token.holders))

    def role_of(self, token: str) -> TokenRole:
        """The role of a token made before.  Raises `ConfigurationError`."""
        if token not in self.tokens:
            raise ConfigurationError(f"there is no token {token!r} at this point: make it in a step before")
        return self.tokens[token]

    def must_have_key(self, label: str, role: TokenRole) -> None:
        """That the key exists by then, in a token of this role.  Raises `ConfigurationError`."""
        if label not in self.keys:
            raise ConfigurationError(f"there is no key {label!r} at this point: generate it in a step before")
        if self.tokens[self.keys[label][0]] is not role:
            raise ConfigurationError(
                f"key {label!r} lies in the wrong token: this needs one in the {role} token"
            )

    def must_be_certified(self, id: str) -> None:
        """That there is such an issuer, or "root".  Raises `ConfigurationError`."""
        if id not in self.certified:
            known = ", ".join(sorted(self.certified)) or "none"
            raise ConfigurationError(f"there is no issuer {id!r} at this point (there are: {known})")

    def certify(self, id: str, what: str) -> None:
        """Note that the root signs a certificate for a new `id`.  Raises `ConfigurationError`."""
        if id in self.certified:
            raise ConfigurationError(f"there is an issuer {id!r} already: a new certificate needs a new id")
        if id != ROOT:
            self.must_be_certified(ROOT)
        self.certified.add(id)
        self.uncovered = what


class Attempt(Protocol):
    """One try of a step."""

    earlier: Intent | None
    """What a killed try of this step had meant to do."""

    def intend(self, intent: Intent) -> bytes:
        """Make an intent durable, before the key is used or the token made; its line's hash."""

    def reached(self, what: str) -> None:
        """Say how far it is (signer/steps.py), for the crash tests."""


class Step(Protocol):
    """A step of a ceremony; implementations are frozen dataclasses."""

    KIND: ClassVar[str]
    Done: ClassVar[type]
    """What `perform` returns and the transcript keeps."""

    def words(self, plan: Plan) -> str:
        """One sentence for those who watch: what will be, and where."""

    def check(self, plan: Plan) -> None:
        """Judge the step after those before it, and note what it adds.  Raises `ConfigurationError`."""

    async def perform(self, room: Room, attempt: Attempt) -> Any:
        """Do it.  Raises `CaError`; the ceremony can be resumed then."""

    def apply(self, draft: Draft, done: Any) -> None:
        """Bring what was done into the draft."""


StepKind = type[Step]
Say = Callable[[str], None]


def _label(hierarchy: Hierarchy, role: TokenRole) -> str:
    return hierarchy.token(role).label
