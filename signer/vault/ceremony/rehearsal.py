"""A dry run: the whole script, on throwaway SoftHSM2 tokens, by throwaway people, in a temporary directory.

Where the script goes on from a sealed hierarchy, whose root key is not here, a stand-in of the same shape is
made first: the same issuers, key algorithms and custody, other keys.

Must never: touch the real tokens, identities or data directory; leave anything behind.

CPS 6.1.1 (the script is tried before the ceremony).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.clock import Clock
from core.data_directory import DataDirectory
from core.people import Identity, Person
from core.randomness import Randomness
from core.settings import Deployment, Settings, Vault
from signer.api import KeyUse
from signer.vault.ceremony import engine
from signer.vault.ceremony.engine import Place
from signer.vault.ceremony.script import Script, parse
from signer.vault.ceremony.step import Say
from signer.vault.sealed.seal import Hierarchy
from signer.vault.tokens.keys import algorithm_of


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What the ceremony would make: the hierarchy with throwaway keys, and its transcript."""

    hierarchy: Hierarchy
    transcript: bytes


async def rehearse(
    script: Script,
    base: Path,
    settings: Settings,
    clock: Clock,
    randomness: Randomness,
    hierarchy: Hierarchy | None,
    say: Say = lambda line: None,
) -> Rehearsed:
    """Hold it for nothing.  `base` is where the script's files lie.  Raises as `engine.hold`."""
    settings = replace(
        settings,
        deployment=Deployment(),
        vault=replace(settings.vault, module=Vault().module, module_kind=Vault().module_kind, pin_file=""),
    )
    perspectives = {place.code: _public_key() for place in settings.validation.perspectives}
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as directory:
        data = DataDirectory(Path(directory))
        place = Place(data, settings, clock, randomness, base, perspectives)
        present, people = _stand_in_people(script, randomness)
        if hierarchy is not None:
            stand_in = parse(_stand_in(script, hierarchy), people)
            await engine.hold(place, stand_in, present)
        text = script.text
        for person, identity in zip(script.people, present, strict=True):
            text = text.replace(person.id, identity.person.id)
        tried = parse(text, _in_order(present))
        tried = replace(tried, tokens=tuple(replace(token, directory="") for token in tried.tokens))
        held = await engine.hold(replace(place, say=say), tried, present)
        return Rehearsed(held.hierarchy, held.transcript.read_bytes())


def _stand_in_people(
    script: Script, randomness: Randomness
) -> tuple[list[Identity], Callable[[str], Person]]:
    made = [Identity.make(person.name, person.role, randomness) for person in script.people]
    return made, _in_order(made)


def _in_order(identities: list[Identity]) -> Callable[[str], Person]:
    people = iter(identities)
    return lambda _: next(people).person


def _stand_in(script: Script, hierarchy: Hierarchy) -> str:
    """A script that makes a hierarchy of the same shape."""
    root_key = x509.load_der_x509_certificate(hierarchy.root).public_key()
    policy = script.policy
    lines = ['[ceremony]\ntitle = "Stand-in for the sealed hierarchy"']
    lines.append(f"[policy]\npresent = {policy.present}\nof = {policy.of}")
    lines += [f'[[people]]\nfile = "{number}"' for number, _ in enumerate(script.people)]
    for token in hierarchy.tokens:
        lines.append(f'[[tokens]]\nlabel = "{token.label}"\nrole = "{token.role}"')
        lines.append(_step("make-token", {"token": token.label}))
    labels = {token.role.value: token.label for token in hierarchy.tokens}
    lines.append(
        _step(
            "generate-key",
            {
                "token": labels["root"],
                "label": "root",
                "algorithm": algorithm_of("root", root_key),
                "custody": hierarchy.root_custody,
            },
        )
    )
    lines.append(_step("root-certificate", {}))
    made = set()
    for issuer in hierarchy.issuers:
        if issuer.label not in made:
            key = {"token": labels["issuing"], "label": issuer.label, "algorithm": issuer.algorithm}
            lines.append(_step("generate-key", {**key, "custody": issuer.custody}))
            made.add(issuer.label)
        kind = "local-service-certificate" if issuer.use is KeyUse.LOCAL_SERVICE else "issuing-certificate"
        named = {"id": issuer.id, "key": issuer.label, "common_name": f"Stand-in {issuer.id}"}
        lines.append(_step(kind, named))
    return "\n".join([*lines, _step("pin-perspectives", {}), _step("root-crl", {}), _step("seal", {})])


def _step(kind: str, keys: Mapping[str, str]) -> str:
    return "\n".join(
        [f'[[steps]]\nkind = "{kind}"', *(f'{key} = "{value!s}"' for key, value in keys.items())]
    )


def _public_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
