"""Certificate Transparency: logs, policy, submission, SCTs (RFC 6962; static-ct-api).

`sct` and `tbs` are pure and serve the vault, too; `client` is the only module here that opens connections.
"""
