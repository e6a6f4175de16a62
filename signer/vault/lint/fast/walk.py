"""Validators run over varying fields: several containers in one pass, and no result where nothing was found.

pkilint makes a result of every validator that has nothing to say, and a filter drops it later: for a name
that costs as much as the checks themselves.  Here only findings become results.

It relies on Validator.validate_wrapper doing what it does in pkilint 0.13; a class that overrides it is
run by its own.
"""

from __future__ import annotations

from typing import Any

from pkilint import validation

from signer.vault.lint.fast.index import IndexedContainer, Kind, kind_of

_WRAPPERS = {validation.Validator.validate_wrapper}


class Crashed(Exception):
    """A validator raised what is no finding: pkilint alone shall judge."""


class Walk:
    """What several containers find at a node and below it, in one pass: in another order than one by one."""

    def __init__(self, containers: tuple[IndexedContainer, ...]) -> None:
        self.containers = containers
        self._paths = frozenset().union(*(container.paths() for container in containers))
        self._asked: dict[Kind, tuple[list[tuple[Any, bool]], Walk]] = {}

    def visit(self, node: Any, results: list[Any]) -> None:
        """Append pkilint's results of `node` and all that is below."""
        key = kind_of(node, self._paths)
        if key not in self._asked:
            self._asked[key] = self._to_be_asked(node)
        validators, below = self._asked[key]
        for validator, must_ask in validators:
            if not must_ask or validator.match(node):
                run(validator, node, results)
        for child in node.children.values():
            below.visit(child, results)

    def _to_be_asked(self, node: Any) -> tuple[list[tuple[Any, bool]], Walk]:
        """The validators for such nodes, and the walk below: with the containers that begin here, too."""
        validators, containers = [], [*self.containers]
        for container in containers:
            for validator, must_ask in container.candidates(node):
                if isinstance(validator, IndexedContainer) and not must_ask:
                    containers.append(validator)
                else:
                    validators.append((validator, must_ask))
        grown = len(containers) > len(self.containers)
        return validators, Walk(tuple(containers)) if grown else self


def run(validator: Any, node: Any, results: list[Any]) -> None:
    """Append the results with findings of a validator that matches the node.  Raises `Crashed`."""
    if type(validator).validate_wrapper not in _WRAPPERS:
        found = validator.validate_wrapper(node)
    else:
        try:
            found = validator.validate(node)
        except validation.ValidationFindingEncountered as error:
            description = validation.ValidationFindingDescription(error.finding, error.message)
            found = validation.ValidationResult(validator, node, [description])
        except Exception as error:
            raise Crashed from error
    if isinstance(found, list):
        results += found
    elif found is not None:
        results.append(found)
