"""pkilint's validators, found by the type of a node instead of being asked one by one.

pkilint asks every validator of a container at every node whether it matches: 6 800 questions for a leaf of
one name, 25 800 for one of a hundred, and most say no because of the node's type or path.  Here that answer
is remembered by (type, path).  What can be told only from the node itself (predicates, patterns, a `match` of
a validator's own) is still asked, and validators run in the same order, so the findings are the same: a test
compares them over mutated certificates, and must be run again with every new pkilint.

It reads the underscore attributes of pkilint's NodeVisitor, which tell what a validator matches.
"""

from __future__ import annotations

from typing import Any

from pkilint import document, validation
from pkilint.pkix import extension
from pkilint.pkix.certificate import certificate_extension

_NARROWING = {
    validation.TypeMatchingValidator.match,
    extension.ExtensionCriticalityValidator.match,
    certificate_extension.ExtendedKeyUsageCriticalityValidator.match,
}
"""Methods `match` that only narrow what NodeVisitor.match says: type and path bind them, too."""


def indexed(validator: Any) -> Any:
    """A validator that finds what `validator` finds; only plain containers become faster."""
    kind = type(validator)
    plain = (
        isinstance(validator, validation.ValidatorContainer)
        and kind.validate is validation.ValidatorContainer.validate
        and kind._validate_rec is validation.ValidatorContainer._validate_rec
        and kind.match is document.NodeVisitor.match
    )
    return _IndexedContainer(validator) if plain else validator


class _IndexedContainer(validation.ValidatorContainer):  # type: ignore[misc]
    """A container with the same validators, and an index of them."""

    def __init__(self, original: Any) -> None:
        self.__dict__.update(original.__dict__)
        self.validators = [indexed(validator) for validator in original.validators]
        self._paths = {validator._path for validator in self.validators if validator._path is not None}
        self._candidates: dict[tuple[type, str | None], list[tuple[Any, bool]]] = {}

    def _validate_rec(self, node: Any, results: list[Any]) -> None:
        path = node.path if node.path in self._paths else None
        key = (type(node.pdu), path)
        candidates = self._candidates.get(key)
        if candidates is None:
            candidates = self._candidates[key] = self._that_may_match(*key)
        for validator, must_ask in candidates:
            if not must_ask or validator.match(node):
                result = validator.validate_wrapper(node)
                if isinstance(result, list):
                    results += result
                else:
                    results.append(result)
        for child in node.children.values():
            self._validate_rec(child, results)

    def _that_may_match(self, pdu_type: type, path: str | None) -> list[tuple[Any, bool]]:
        """The validators that may match such a node, and whether the node itself must be asked."""
        return [
            (validator, _is_dynamic(validator))
            for validator in self.validators
            if (_has_own_match(validator) and type(validator).match not in _NARROWING)
            or (
                validator._path in (None, path)
                and (validator._pdu_class is None or issubclass(pdu_type, validator._pdu_class))
            )
        ]


def _has_own_match(validator: Any) -> bool:
    return type(validator).match is not document.NodeVisitor.match


def _is_dynamic(validator: Any) -> bool:
    return (
        _has_own_match(validator)
        or validator._path_re is not None
        or validator._pdu_supertype is not None
        or validator._predicate is not None
    )
