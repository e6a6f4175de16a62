"""pkilint's validators, found by the type of a node instead of being asked one by one.

pkilint asks every validator of a container at every node whether it matches: 6 800 questions for a leaf of
one name, 25 800 for one of a hundred, and most say no because of the node's type or path.  Here that answer
is remembered by (type, path).  What can be told only from the node itself (predicates, patterns, a `match` of
a validator's own) is still asked, and validators run in the same order, so the findings are the same: a test
compares them over mutated certificates, and must be run again with every new pkilint.

It reads the underscore attributes of pkilint's NodeVisitor, which tell what a validator matches.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from pkilint import document, validation
from pkilint.pkix import extension, general_name
from pkilint.pkix.certificate import certificate_extension
from pyasn1_alt_modules import rfc5280

_NARROWING = {
    validation.TypeMatchingValidator.match,
    extension.ExtensionCriticalityValidator.match,
    certificate_extension.ExtendedKeyUsageCriticalityValidator.match,
}
"""Methods `match` that only narrow what NodeVisitor.match says: type and path bind them, too."""

_CHOICE_PREDICATE = general_name.create_generalname_type_predicate("dNSName").__code__
"""Predicates of this code ask only whether a node is a GeneralName's, and which choice it is."""

Kind = tuple[type, str | None, str | None]
"""What a node has in common with others that the same validators may match: the type of its value, its path
where any validator is bound to it, and its choice where it is a GeneralName's."""


def indexed(validator: Any) -> Any:
    """A validator that finds what `validator` finds; only plain containers become faster."""
    kind = type(validator)
    plain = (
        isinstance(validator, validation.ValidatorContainer)
        and kind.validate is validation.ValidatorContainer.validate
        and kind._validate_rec is validation.ValidatorContainer._validate_rec
        and kind.match is document.NodeVisitor.match
    )
    return IndexedContainer(validator) if plain else validator


class IndexedContainer(validation.ValidatorContainer):  # type: ignore[misc]
    """A container with the same validators, and an index of them."""

    def __init__(self, original: Any) -> None:
        self.__dict__.update(original.__dict__)
        self.validators = [indexed(validator) for validator in original.validators]
        self._paths = {validator._path for validator in self.validators if validator._path is not None}
        self._candidates: dict[Kind, list[tuple[Any, bool]]] = {}

    def candidates(self, node: Any) -> list[tuple[Any, bool]]:
        """The validators that may match this node, in order, and whether the node itself must be asked."""
        key = kind_of(node, self._paths)
        candidates = self._candidates.get(key)
        if candidates is None:
            candidates = self._candidates[key] = self._that_may_match(node)
        return candidates

    def paths(self) -> set[str]:
        """The paths that bind a validator in this container or in one inside it."""
        return self._paths.union(
            *(inner.paths() for inner in self.validators if isinstance(inner, IndexedContainer))
        )

    def _validate_rec(self, node: Any, results: list[Any]) -> None:
        for validator, must_ask in self.candidates(node):
            if not must_ask or validator.match(node):
                run(validator, node, results)
        for child in node.children.values():
            self._validate_rec(child, results)

    def _that_may_match(self, node: Any) -> list[tuple[Any, bool]]:
        return [
            (validator, _is_dynamic(validator))
            for validator in self.validators
            if (_has_own_match(validator) and type(validator).match not in _NARROWING)
            or (
                validator._path in (None, node.path)
                and (validator._pdu_class is None or issubclass(type(node.pdu), validator._pdu_class))
                and (not _asks_for_choice(validator) or validator._predicate(node))
            )
        ]


def run(validator: Any, node: Any, results: list[Any]) -> None:
    """Append what a matching validator finds, as ValidatorContainer does."""
    result = validator.validate_wrapper(node)
    if isinstance(result, list):
        results += result
    else:
        results.append(result)


def kind_of(node: Any, paths: Set[str]) -> Kind:
    """`paths` are those that bind a validator."""
    parent = node.parent
    choice = node.name if parent is not None and isinstance(parent.pdu, rfc5280.GeneralName) else None
    return type(node.pdu), node.path if node.path in paths else None, choice


def _has_own_match(validator: Any) -> bool:
    return type(validator).match is not document.NodeVisitor.match


def _asks_for_choice(validator: Any) -> bool:
    return getattr(validator._predicate, "__code__", None) is _CHOICE_PREDICATE


def _is_dynamic(validator: Any) -> bool:
    return (
        _has_own_match(validator)
        or validator._path_re is not None
        or validator._pdu_supertype is not None
        or (validator._predicate is not None and not _asks_for_choice(validator))
    )
