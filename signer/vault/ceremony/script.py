"""A ceremony's script: TOML, read into types and judged as a whole before anything happens.

    [ceremony]  title        what this is about, in words
    [policy]    present, of  how many people must be there, of how many; 3 of 5 unless it says otherwise
    [[people]]  file         NAME.person.json of everybody who may be present, next to the script
    [[tokens]]               a token that a step makes or opens (step.py, TokenPlan)
    [[steps]]   kind ...     in their order; kinds.py has the kinds and their keys

Must never: guess.  An unknown key is an error that names the nearest known one; a step that needs what no
step before it makes is refused here, not half-way through the ceremony.

BR 6.1.1.1 (a key generation script); CPS 6.1.1.
"""

from __future__ import annotations

import difflib
import hashlib
import tomllib
import typing
from dataclasses import MISSING, dataclass, fields
from enum import EnumType, StrEnum
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from core.errors import ConfigurationError
from core.people import Person
from signer.vault.ceremony.kinds import KINDS
from signer.vault.ceremony.step import Plan, Policy, Step, TokenPlan
from signer.vault.sealed.seal import Hierarchy, TokenRole

T = TypeVar("T")

LEAST_PRESENT = 2
"""With people at all there are two: multi-person control is not one person's (BR 5.2.2, 6.2.2)."""

_SECTIONS = ("ceremony", "policy", "people", "tokens", "steps")


@dataclass(frozen=True, slots=True)
class Script:
    """A script as written, and as understood."""

    text: str
    title: str
    policy: Policy
    people: tuple[Person, ...]
    tokens: tuple[TokenPlan, ...]
    steps: tuple[Step, ...]

    @property
    def sha256(self) -> bytes:
        """Of its text: what the people present sign."""
        return hashlib.sha256(self.text.encode()).digest()

    def plan(self, hierarchy: Hierarchy | None, uncovered: str = "") -> Plan:
        """Carry it out in thought, on top of `hierarchy`.  Raises `ConfigurationError` naming the step.

        `uncovered` says what the root may have signed that no CRL lists yet.
        """
        described = {each.label: each for each in self.tokens}
        plan = Plan.of(self.policy, self.people, described, hierarchy)
        plan.uncovered = uncovered
        for number, step in enumerate(self.steps, 1):
            try:
                if plan.sealed:
                    raise ConfigurationError("nothing comes after the seal: put it at the end")
                step.check(plan)
            except ConfigurationError as error:
                raise ConfigurationError(f"step {number} ({step.KIND}): {error}") from error
        if not plan.sealed:
            raise ConfigurationError('the last step of a script is [[steps]] kind = "seal"')
        return plan

    def words(self, hierarchy: Hierarchy | None) -> list[str]:
        """Each step in a sentence.  Raises `ConfigurationError`."""
        plan = self.plan(hierarchy)
        return [step.words(plan) for step in self.steps]


@dataclass(frozen=True, slots=True)
class _Ceremony:
    title: str


@dataclass(frozen=True, slots=True)
class _PersonFile:
    file: str


def load(path: Path) -> Script:
    """Read a script; its people's files lie relative to it.  Raises `ConfigurationError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error
    return parse(text, lambda file: Person.load(path.parent / file))


def parse(text: str, person: typing.Callable[[str], Person]) -> Script:
    """A script from its text; `person` reads a public file.  Raises `ConfigurationError` naming the key."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"the script is not TOML: {error}") from error
    for key in raw:
        if key not in _SECTIONS:
            raise ConfigurationError(f"the script has a section {key!r}; {_nearest(key, _SECTIONS)}")
    steps = []
    for number, table in enumerate(_tables(raw, "steps"), 1):
        rest = dict(table)
        kind = rest.pop("kind", None)
        if kind not in KINDS:
            raise ConfigurationError(f"step {number}: kind = {kind!r}; {_nearest(str(kind), KINDS)}")
        steps.append(read(rest, KINDS[kind], f"step {number} ({kind})"))
    script = Script(
        text=text,
        title=read(raw.get("ceremony", {}), _Ceremony, "[ceremony]").title,
        policy=read(raw.get("policy", {}), Policy, "[policy]"),
        people=tuple(person(read(each, _PersonFile, "[[people]]").file) for each in _tables(raw, "people")),
        tokens=tuple(read(each, TokenPlan, "[[tokens]]") for each in _tables(raw, "tokens")),
        steps=tuple(steps),
    )
    _check(script)
    return script


def read(raw: Any, type: type[T], where: str) -> T:
    """One table as a dataclass.  Raises `ConfigurationError` naming the key and the nearest known one."""
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{where} must be a table")
    known = {field.name: field for field in fields(type)}  # type: ignore[arg-type]
    for key in raw:
        if key not in known:
            raise ConfigurationError(f"{where} has no key {key!r}; {_nearest(key, known)}")
    for name, field in known.items():
        if name not in raw and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigurationError(f"{where} needs a key {name!r}")
    try:
        return msgspec.convert(raw, type)
    except msgspec.ValidationError as error:
        what, _, key = str(error).partition(" - at `$.")
        words = f"{where}, {key.rstrip('`') or 'all of it'}: {what[:1].lower()}{what[1:]}"
        hint = typing.get_type_hints(type).get(key.rstrip("`"))
        if isinstance(hint, EnumType) and issubclass(hint, StrEnum):
            words += f"; it is one of {', '.join(repr(str(each)) for each in hint)}"
        raise ConfigurationError(words) from error


def _check(script: Script) -> None:
    policy, people = script.policy, script.people
    if policy.of != len(people):
        raise ConfigurationError(
            f"[policy] of = {policy.of}, but {len(people)} [[people]] are named: name all, or change `of`"
        )
    if people and not LEAST_PRESENT <= policy.present <= policy.of:
        raise ConfigurationError(
            f"[policy] {policy.present} of {policy.of} present: take at least {LEAST_PRESENT}, at most all"
        )
    if not people and policy.present:
        raise ConfigurationError("[policy] asks for people and names none: add [[people]] file = ...")
    for what in ("id", "name"):
        if len({getattr(person, what) for person in people}) != len(people):
            raise ConfigurationError(f"two [[people]] have the same {what}: one person, one file")
    if len({token.label for token in script.tokens}) != len(script.tokens):
        raise ConfigurationError("two [[tokens]] have the same label: name them differently")
    plan = Plan.of(policy, people, {token.label: token for token in script.tokens}, None)
    for token in script.tokens:
        holders = plan.holders(token)
        threshold = token.threshold or policy.present
        if people and not LEAST_PRESENT <= threshold <= policy.present:
            raise ConfigurationError(
                f"token {token.label!r}: a threshold of {threshold}: at least {LEAST_PRESENT}, and no more "
                f"than the {policy.present} who must be present, or a killed ceremony could not go on"
            )
        if people and threshold > len(holders):
            raise ConfigurationError(
                f"token {token.label!r}: {threshold} of {len(holders)} holders: name more"
            )
        if token.role is TokenRole.ISSUING and token.directory:
            raise ConfigurationError(
                f"token {token.label!r}: the issuing token stays in the data directory, where the vault "
                "finds it: leave `directory` out"
            )


def _tables(raw: dict[str, Any], key: str) -> list[Any]:
    found = raw.get(key, [])
    if not isinstance(found, list):
        raise ConfigurationError(f"[[{key}]] is a list of tables: write it with two brackets")
    return found


def _nearest(name: str, known: typing.Iterable[str]) -> str:
    near = difflib.get_close_matches(name, [*known], n=1, cutoff=0)
    return f"the nearest is {near[0]!r}" if near else "there is none"
