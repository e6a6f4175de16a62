"""pkilint, made fast for a CA that lints every certificate before it is signed: the same findings, sooner.

A package of its own: it needs pkilint (and the pyasn1 packages that pkilint needs) and nothing of ours, so
that it can be offered upstream.

    container = certificate.create_pkix_certificate_validator_container(decoding_validators, validators)
    linter = ProfileLinter(indexed(container), filters, edition=("pkilint 0.13.3",))
    results = linter.results(der)       # what filtered(filters, container.validate(...)) would be

- `indexed` (index.py) remembers by type, path and choice which validators may match a node.  For any
  document; findings and their order are pkilint's.
- `ProfileLinter` (profile.py) judges once what all certificates of a profile have in common, and each
  certificate only by what is its own.  Findings are pkilint's, their order is not.
- Cost, against pkilint alone: an eighth for a certificate of one name, a fifth for ten (docs/adr/0004).
- One linter serves one thread; profiles are bounded; a profile is keyed by its octets, by the `edition` that
  its owner names (linter version and rule set) and by the era of notBefore among pkilint's dates (dates.py).

Must never: find less than pkilint.  The mutants in its tests are the proof, and must be run again with every
new pkilint before that is used.
"""

from signer.vault.lint.fast.index import indexed
from signer.vault.lint.fast.profile import ProfileLinter, filtered, signature

__all__ = ["ProfileLinter", "filtered", "indexed", "signature"]
