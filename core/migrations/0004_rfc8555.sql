-- All of RFC 8555 and its extensions: bindings, replacements, incidents, holds, revocation in bulk, overrides.

CREATE TABLE binding_keys (        -- external account binding (RFC 8555 section 7.3.4); no secret is in here
  kid TEXT PRIMARY KEY,
  label TEXT NOT NULL,             -- whose it is, for operators
  reusable INTEGER NOT NULL,       -- 0: good for one account
  uses INTEGER NOT NULL,           -- accounts made with it; counted in the transaction that makes one
  secret TEXT NOT NULL,            -- which secret it is derived from, by its fingerprint
  created_at INTEGER NOT NULL,
  expires_at INTEGER,              -- NULL: never
  withdrawn_at INTEGER             -- NULL: good
) STRICT;
ALTER TABLE accounts ADD COLUMN binding_kid TEXT REFERENCES binding_keys (kid);
ALTER TABLE accounts ADD COLUMN binding TEXT;       -- the externalAccountBinding as it came in (JWS, JSON)
CREATE INDEX accounts_by_binding ON accounts (binding_kid, status) WHERE binding_kid IS NOT NULL;

ALTER TABLE orders ADD COLUMN replaces TEXT;        -- RFC 9773 section 5: the CertID, as it was asked for
ALTER TABLE orders ADD COLUMN renewal INTEGER NOT NULL DEFAULT 0;  -- 1: replaces it in its window; meets no rate limit
ALTER TABLE orders ADD COLUMN predecessor TEXT REFERENCES certificates (id);   -- the certificate that it names
CREATE INDEX orders_by_predecessor ON orders (predecessor) WHERE predecessor IS NOT NULL;

-- The orders list and deactivation read what they show, and nothing that is over (acme_server/store/order_list.py).
DROP INDEX orders_by_account;
DROP INDEX orders_open;
CREATE INDEX orders_unfinished ON orders (account_id, expires) WHERE status IN ('pending', 'ready');
CREATE INDEX orders_finished ON orders (account_id, created_at) WHERE status IN ('processing', 'valid');
DROP INDEX authorizations_reuse;
CREATE INDEX authorizations_of_name ON authorizations (account_id, value, wildcard, status, oldest_datum);
CREATE INDEX authorizations_pending ON authorizations (account_id, expires) WHERE status = 'pending';

CREATE TABLE holds (               -- orders that wait for a person (BR 4.2.1, high risk)
  order_id TEXT PRIMARY KEY REFERENCES orders (id),
  why TEXT NOT NULL,
  held_at INTEGER NOT NULL,
  decision TEXT,                   -- NULL: none yet; "approved", "refused", "ended"
  decided_by TEXT,
  decided_at INTEGER,
  note TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX holds_open ON holds (held_at) WHERE decision IS NULL;

CREATE TABLE incidents (           -- sets of certificates that must be renewed now (RFC 9773 section 4.2)
  id TEXT PRIMARY KEY,
  title TEXT NOT NULL,
  explanation_url TEXT NOT NULL,   -- "" for none
  renew_by INTEGER NOT NULL,       -- their windows end before this
  opened_at INTEGER NOT NULL,
  opened_by TEXT NOT NULL,
  total INTEGER NOT NULL,          -- certificates in it
  closed_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX incidents_open ON incidents (renew_by) WHERE closed_at IS NULL;
CREATE TABLE incident_serials (
  serial BLOB NOT NULL REFERENCES certificates (serial),
  incident_id TEXT NOT NULL REFERENCES incidents (id),
  added_at INTEGER NOT NULL,       -- the window lies between this and renew_by
  PRIMARY KEY (serial, incident_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX incident_serials_by_incident ON incident_serials (incident_id);

CREATE TABLE overrides (           -- of rate limits, by operators
  subject TEXT NOT NULL,           -- "account:ID", "binding:KID"
  bucket TEXT NOT NULL,            -- which limit
  count INTEGER NOT NULL,
  period INTEGER NOT NULL,         -- seconds
  note TEXT NOT NULL,
  PRIMARY KEY (subject, bucket)
) STRICT, WITHOUT ROWID;

CREATE TABLE revocation_runs (     -- revocation in bulk: what is still to do outlasts a crash
  id TEXT PRIMARY KEY,
  cause TEXT NOT NULL,             -- core/causes.py
  reason INTEGER NOT NULL,
  note TEXT NOT NULL,              -- who asked and why, for the auditors
  selection TEXT,                  -- JSON: how the certificates are chosen; NULL: serial numbers were named
  learned_at INTEGER NOT NULL,     -- when we learned of the cause: the time runs from here (BR 4.9.5)
  began_at INTEGER NOT NULL,
  began_by TEXT NOT NULL,
  phase TEXT NOT NULL,             -- "gathering", "selecting", "revoking", "ended"
  cursor INTEGER NOT NULL,         -- row of the register up to which it was selected
  until INTEGER NOT NULL,          -- row up to which it looks: what was there when it began
  total INTEGER NOT NULL DEFAULT 0,            -- certificates found, and what became of those that are done
  revoked INTEGER NOT NULL DEFAULT 0,
  upgraded INTEGER NOT NULL DEFAULT 0,
  already INTEGER NOT NULL DEFAULT 0,
  expired INTEGER NOT NULL DEFAULT 0,
  ended_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE revocation_targets (
  run_id TEXT NOT NULL REFERENCES revocation_runs (id),
  serial BLOB NOT NULL REFERENCES certificates (serial),
  done_at INTEGER,
  outcome TEXT,                    -- "revoked", "already", "expired", "upgraded"
  PRIMARY KEY (run_id, serial)
) STRICT, WITHOUT ROWID;
CREATE INDEX revocation_targets_open ON revocation_targets (run_id, serial) WHERE done_at IS NULL;

CREATE INDEX certificates_by_account ON certificates (account_url, not_after) WHERE account_url IS NOT NULL;
