"""The commands of `acme-server repository`: what the CA discloses, and whether its tree is whole.

They read public files only, so they work while nothing runs.

CCADB policy 6.2 (CRL URLs); docs/relying-parties.md.
"""

from __future__ import annotations

import json

from operations.commands.command import command, group, say
from operations.commands.options import Reporting
from operations.process import Exit

application = group("repository", "The public files: what to disclose of them, and whether they are whole.")


@command(application)
def key(given: Reporting) -> None:
    """Print the thumbprint of each key that signs the manifest, for those who pin it (RFC 7638)."""
    from repo_static.manifest import verify

    _, thumbprints = verify.published(given.directory().repository)
    say(json.dumps(list(thumbprints)) if given.json else "\n".join(thumbprints))


@command(application)
def ccadb(given: Reporting) -> None:
    """Print what CCADB's CRL fields take, for each issuing CA.

    Within 7 days of the first certificate, and 4 hours of the first revocation.
    """
    from repo_static.manifest import verify

    manifest, _ = verify.published(given.directory().repository)
    public = [each for each in manifest["issuers"] if each["use"] == "issuing"]
    if given.json:
        keys = ("id", "subject", "sha256", "ccadb")
        say(json.dumps([{name: each[name] for name in keys} for each in public], indent=2))
        return
    for each in public:
        say(f"{each['id']}  {each['subject']}")
        say(f"    SHA-256                        {each['sha256']}")
        say(f"    Full CRL Issued By This CA     {each['ccadb']['full_crl']}")
        say(f"    JSON Array of Partitioned CRLs {each['ccadb']['partitioned_crls']}")


@command(application)
def verify(given: Reporting) -> Exit:
    """Compare the public files with their signed manifest.  Changes nothing."""
    from repo_static.manifest import verify

    root = given.directory().repository
    manifest, _ = verify.published(root)
    faults = verify.faults(root)
    if given.json:
        said = {name: manifest[name] for name in ("sequence", "this_update", "next_update")}
        say(json.dumps({**said, "faults": faults}, indent=2))
    else:
        for fault in faults:
            say(fault)
        whole = "is what it says" if not faults else f"is NOT: {len(faults)} faults"
        say(
            f"manifest {manifest['sequence']} of {manifest['this_update']}, next by "
            f"{manifest['next_update']}: the tree {whole}"
        )
    return Exit.REFUSED if faults else Exit.DONE
