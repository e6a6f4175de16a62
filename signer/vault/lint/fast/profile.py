"""A linter that judges once what all certificates of a profile have in common.

Certificates of one issuer and profile differ in a handful of fields (split.py); the rest is the *key*.
When a key is seen again, pkilint's validators are run once over a certificate whose varying fields are sealed
(seal.py): a validator that reads one is interrupted.  One that finishes has read nothing but octets of
the key, so its findings hold for every certificate with this key, and are kept.  The interrupted ones become
a short program that is run on each certificate, over freshly decoded fields.  What a validator reads is seen,
never guessed.  No validator reads the clock: dated rules go by notBefore, which is a varying field.

Nothing is believed: a profile is kept only if it agrees with pkilint about the certificate that it was made
from, and every so often a certificate is linted both ways.  Whatever is unusual (an odd encoding, a sealed
part read, a validator that crashed) is linted by pkilint alone.

Of X.509 it knows no more than where the fields lie.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from pkilint import finding_filter, loader, validation
from pyasn1.error import PyAsn1Error
from pyasn1.type import univ, useful
from pyasn1_alt_modules import rfc5280

from signer.vault.lint.fast import values
from signer.vault.lint.fast.dates import era
from signer.vault.lint.fast.index import IndexedContainer
from signer.vault.lint.fast.names import add_dns_names
from signer.vault.lint.fast.seal import SealableCertificate, Sealed, seal, seal_value
from signer.vault.lint.fast.split import DOTTED, NOT_BEFORE, SUBJECT_ALT_NAME, VARYING, Key, Unusual, split
from signer.vault.lint.fast.walk import Crashed, Walk, run

PROFILES = 128
"""Profiles that a worker keeps, 0.1 MiB each; the one that was used longest ago makes room."""

CHECKED = 512
"""One in so many answers is compared with pkilint's own: 6 us for each certificate."""

DIFFERENCE = validation.ValidationFinding(validation.ValidationFindingSeverity.FATAL, "base.profile_differs")

_SERIAL = rfc5280.CertificateSerialNumber()
_TIMES = {"utcTime": useful.UTCTime(), "generalTime": useful.GeneralizedTime()}
_BIT_STRING, _OCTET_STRING = univ.BitString(), univ.OctetString()
_LOADER = loader.DocumentLoader(SealableCertificate, "CERTIFICATE")
_walk = lru_cache(maxsize=64)(Walk)
_CRASH = validation.Validator.VALIDATION_FINDING_UNHANDLED_EXCEPTION

_ProfileKey = tuple[tuple[Hashable, ...], int, Key]
"""Edition, era of notBefore, and the octets that all have in common."""

Results = list[Any]
"""pkilint's ValidationResults, after the filters; only those with findings."""


class ProfileLinter:
    """Finds in certificates what `validator` finds after `filters`, in another order.  For one thread."""

    def __init__(
        self,
        validator: IndexedContainer,
        filters: list[Any],
        profiles: int = PROFILES,
        edition: tuple[Hashable, ...] = (),
    ) -> None:
        """`edition` names the linter's version and its set of rules: it stands in every profile's key."""
        self._validator = validator
        self._filters = filters
        self._limit = profiles
        self._edition = edition
        self._profiles: OrderedDict[_ProfileKey, _Profile | _No] = OrderedDict()
        self.answered = 0
        """How many certificates profiles have answered for."""

    def results(self, certificate: bytes) -> Results:
        """Raises ValueError for a certificate that cannot be decoded."""
        try:
            octets, fields = split(certificate, VARYING)
        except Unusual:
            return self._plain(certificate)
        key = self._edition, era(fields[NOT_BEFORE]), octets
        profile = self._profiles.get(key)
        if not isinstance(profile, _Profile):
            results = self._plain(certificate)
            self._remember(
                key, self._made(certificate, fields, results) if profile is _No.YET else profile or _No.YET
            )
            return results
        self._profiles.move_to_end(key)
        found = profile.results(certificate, fields, self._filters)
        if found is None:
            return self._plain(certificate)
        self.answered += 1
        if self.answered % CHECKED == 0 and not _same(found, results := self._plain(certificate)):
            self._remember(key, _No.EVER)
            message = "pkilint alone found something else; ask again, and report this to the developers"
            descriptions = [validation.ValidationFindingDescription(DIFFERENCE, message)]
            return [*results, validation.ValidationResult(self._validator, profile.root, descriptions)]
        return found

    def _remember(self, key: _ProfileKey, profile: _Profile | _No) -> None:
        self._profiles[key] = profile
        self._profiles.move_to_end(key)
        if len(self._profiles) > self._limit:
            self._profiles.popitem(last=False)

    def _made(self, certificate: bytes, fields: list[bytes], results: Results) -> _Profile | _No:
        """The profile of a certificate, if it agrees with pkilint's own `results`."""
        profile = _Profile(_loaded(certificate))
        try:
            profile.record(self._validator, self._filters)
        except (Sealed, Crashed):
            return _No.EVER
        agrees = not _crashed(results) and _same(profile.results(certificate, fields, self._filters), results)
        return profile if agrees else _No.EVER

    def _plain(self, certificate: bytes) -> Results:
        return filtered(self._filters, self._validator.validate(_loaded(certificate).root))


def filtered(filters: list[Any], results: Results) -> Results:
    """The results that still have findings after the filters."""
    found = [result for result in results if result.finding_descriptions]
    if not found:
        return found
    kept, _ = finding_filter.filter_results(filters, found)
    return [result for result in kept if result.finding_descriptions]


def signature(results: Results) -> Counter[tuple[str, str, Any, str | None]]:
    """What two ways to lint must agree on: the multiset of validator, path, finding and message."""
    return Counter(
        (result.validator.name, result.node.path, found.finding, found.message)
        for result in results
        for found in result.finding_descriptions
    )


class _No(Enum):
    """No profile: made only for what comes twice, as it costs three lints; or not to be had."""

    YET = "yet"
    EVER = "ever"


class _Field(NamedTuple):
    """A varying field: the node above it, its name there, and how it is decoded."""

    parent: Any
    name: str
    specification: Any
    names: bool = False

    @property
    def node(self) -> Any:
        return self.parent.children[self.name]


class _Step(NamedTuple):
    """`validator` at `node`, if it matches (when that is to be asked)."""

    validator: Any
    node: Any
    must_ask: bool

    def run(self, results: Results) -> None:
        if not self.must_ask or self.validator.match(self.node):
            run(self.validator, self.node, results)


class _Visit(NamedTuple):
    """What the containers of `walk` hold, at a varying field and below it."""

    walk: Walk
    field: _Field

    def run(self, results: Results) -> None:
        self.walk.visit(self.field.node, results)


class _Profile:
    """One certificate's tree, whose varying fields are exchanged, and what is to be asked of it each time."""

    def __init__(self, loaded: SealableCertificate) -> None:
        """Seals what varies in a decoded certificate."""
        self.root = loaded.root
        self.constant: Results = []
        self._program: list[_Step | _Visit] = []
        self._fields = _fields(loaded.root)
        loaded.octets = None
        self._document = loaded
        self._facts: dict[str, Any] = {}
        for field in self._fields:
            seal(field.node)
            # The values of all that holds the field would for ever be the first certificate's.
            for parent in field.node.parents:
                seal_value(parent, type(parent.pdu))
        self._varying = {id(field.node): field for field in self._fields}

    def record(self, validator: IndexedContainer, filters: list[Any]) -> None:
        """Run what can be run while the varying fields are sealed, and remember the rest.

        Raises `Sealed` when a filter reads what is sealed, `Crashed` when a validator crashes.
        """
        self._record(validator, self.root)
        self.constant = filtered(filters, self.constant)
        # What validators had the document find out about itself up to here depends on the key alone.
        self._facts = dict(self._document.__dict__)

    def results(self, certificate: bytes, fields: list[bytes], filters: list[Any]) -> Results | None:
        """None when pkilint itself must be asked."""
        results: Results = []
        try:
            self._exchange(certificate, fields)
            for step in self._program:
                step.run(results)
            found = filtered(filters, results)
        except (ValueError, PyAsn1Error, Sealed, Crashed):
            return None
        return None if _crashed(found) else self.constant + found

    def _exchange(self, certificate: bytes, fields: list[bytes]) -> None:
        """Put this certificate's own fields into the tree."""
        self._document.__dict__ = self._facts | {"octets": certificate}
        for (parent, name, specification, names), octets in zip(self._fields, fields, strict=True):
            value = values.decoded(octets, specification)
            node = parent.children[name] = values.node(parent, name, value)
            if names:
                add_dns_names(node, octets)

    def _record(self, container: IndexedContainer, node: Any) -> None:
        for validator, must_ask in container.candidates(node):
            if isinstance(validator, IndexedContainer) and not must_ask:
                self._record(validator, node)
                continue
            step = _Step(validator, node, must_ask)
            try:
                step.run(self.constant)
            except Sealed:
                self._program.append(step)
        for child in node.children.values():
            field = self._varying.get(id(child))
            if field is None:
                self._record(container, child)
            else:
                self._visit(container, field)

    def _visit(self, container: IndexedContainer, field: _Field) -> None:
        """A visit to come; visits of one field that follow each other become one, which halves the time."""
        last = self._program[-1] if self._program else None
        if isinstance(last, _Visit) and last.field is field:
            self._program[-1] = _Visit(_walk((*last.walk.containers, container)), field)
        else:
            self._program.append(_Visit(_walk((container,)), field))


def _fields(root: Any) -> list[_Field]:
    """The varying fields of a decoded certificate, in the order in which split gives them."""
    tbs = root.children["tbsCertificate"]
    return [
        _Field(tbs, "serialNumber", _SERIAL),
        _time(tbs.children["validity"].children["notBefore"]),
        _time(tbs.children["validity"].children["notAfter"]),
        _Field(tbs.children["subjectPublicKeyInfo"], "subjectPublicKey", _BIT_STRING),
        *(
            _Field(extension, "extnValue", _OCTET_STRING, names=dotted == DOTTED[SUBJECT_ALT_NAME])
            for extension in tbs.children["extensions"].children.values()
            if (dotted := str(extension.children["extnID"].pdu)) in DOTTED.values()
        ),
        _Field(root, "signature", _BIT_STRING),
    ]


def _time(node: Any) -> _Field:
    choice, _ = node.child
    return _Field(node, choice, _TIMES[choice])


def _loaded(certificate: bytes) -> SealableCertificate:
    loaded: SealableCertificate = _LOADER.load_der_document(certificate)
    return loaded


def _same(found: Results | None, results: Results) -> bool:
    return found is not None and signature(found) == signature(results)


def _crashed(results: Results) -> bool:
    return any(found.finding == _CRASH for result in results for found in result.finding_descriptions)
