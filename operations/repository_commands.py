"""The commands of `acme-server repository`: what the CA discloses, and whether its tree is whole.

They read public files only, so they work while nothing runs.

CCADB policy 6.2 (CRL URLs); docs/relying-parties.md.
"""

from __future__ import annotations

import json

from operations.command import DATA, Config, Data, Json, Set, exit_with, group, invocation, say
from operations.process import Exit

application = group("repository", "The public files: what to disclose of them, and whether they are whole.")


@application.command()
def key(config: Config = None, data: Data = DATA, set_: Set = None, json_: Json = False) -> None:
    """Print the thumbprint of each key that signs the manifest, for those who pin it (RFC 7638)."""

    def tell() -> int:
        from repo_static.manifest import verify

        _, thumbprints = verify.published(invocation(config, data, set_).directory().repository)
        say(json.dumps(list(thumbprints)) if json_ else "\n".join(thumbprints))
        return Exit.DONE

    exit_with(tell)


@application.command()
def ccadb(config: Config = None, data: Data = DATA, set_: Set = None, json_: Json = False) -> None:
    """Print what CCADB's CRL fields take, for each issuing CA.

    Within 7 days of the first certificate, and 4 hours of the first revocation.
    """

    def tell() -> int:
        from repo_static.manifest import verify

        manifest, _ = verify.published(invocation(config, data, set_).directory().repository)
        public = [each for each in manifest["issuers"] if each["use"] == "issuing"]
        if json_:
            keys = ("id", "subject", "sha256", "ccadb")
            say(json.dumps([{name: each[name] for name in keys} for each in public], indent=2))
            return Exit.DONE
        for each in public:
            say(f"{each['id']}  {each['subject']}")
            say(f"    SHA-256                        {each['sha256']}")
            say(f"    Full CRL Issued By This CA     {each['ccadb']['full_crl']}")
            say(f"    JSON Array of Partitioned CRLs {each['ccadb']['partitioned_crls']}")
        return Exit.DONE

    exit_with(tell)


@application.command()
def verify(config: Config = None, data: Data = DATA, set_: Set = None, json_: Json = False) -> None:
    """Compare the public files with their signed manifest.  Changes nothing."""

    def tell() -> int:
        from repo_static.manifest import verify

        root = invocation(config, data, set_).directory().repository
        manifest, _ = verify.published(root)
        faults = verify.faults(root)
        if json_:
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

    exit_with(tell)
