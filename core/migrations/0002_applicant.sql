-- What a subscriber signed, kept so that the vault can verify it by itself (docs/adr/0012).

ALTER TABLE orders ADD COLUMN applicant BLOB;      -- msgpack of signer.api.Applicant, set with the CSR by finalize
ALTER TABLE account_keys ADD COLUMN change BLOB;   -- the keyChange request (JWS) that made this the account's key
CREATE INDEX account_keys_changes ON account_keys (account_id, valid_from) WHERE change IS NOT NULL;
