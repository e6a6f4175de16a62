-- Times are POSIX seconds (UTC). Ids are unguessable base64url words of 22 characters (RFC 8555 section 10.5).

CREATE TABLE facts (               -- what never changes once set: base_url, rules, data directory id
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

CREATE TABLE audit (               -- core/audit.py; appended in the transaction of the act
  sequence INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,           -- who or what acted: "account:…", "vault", "operator:…", "system"
  content TEXT NOT NULL,           -- canonical JSON
  hash BLOB NOT NULL               -- SHA-256 over the previous hash and this record
) STRICT;
CREATE INDEX audit_by_kind ON audit (kind);   -- and by sequence, the rowid, within a kind

CREATE TABLE jobs (                -- core/jobs.py; the row is the job
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,              -- "validate", "issue"
  subject TEXT NOT NULL,           -- id of the challenge or order
  run_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  last_error TEXT NOT NULL DEFAULT '',
  leased_by TEXT,
  leased_until INTEGER,
  UNIQUE (kind, subject)
) STRICT;
CREATE INDEX jobs_due ON jobs (kind, run_at);

CREATE TABLE accounts (
  id TEXT PRIMARY KEY,
  url TEXT NOT NULL UNIQUE,        -- stable for ever: bound into CAA accounturi and DNS labels
  status TEXT NOT NULL,
  contact TEXT NOT NULL,           -- JSON array
  terms_version TEXT,              -- the version that was agreed to
  terms_agreed_at INTEGER,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE account_keys (        -- the history of an account's keys is kept for ever
  thumbprint TEXT NOT NULL,        -- RFC 7638, base64url of SHA-256
  account_id TEXT NOT NULL REFERENCES accounts (id),
  jwk TEXT NOT NULL,
  spki_sha256 BLOB NOT NULL,
  valid_from INTEGER NOT NULL,
  valid_until INTEGER,             -- NULL: the current key
  PRIMARY KEY (thumbprint, account_id, valid_from)
) STRICT;
CREATE UNIQUE INDEX account_keys_current ON account_keys (thumbprint) WHERE valid_until IS NULL;
CREATE UNIQUE INDEX account_keys_one ON account_keys (account_id) WHERE valid_until IS NULL;
CREATE INDEX account_keys_spki ON account_keys (spki_sha256);

CREATE TABLE orders (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  status TEXT NOT NULL,
  identifiers TEXT NOT NULL,       -- JSON array of {"type","value"}, immutable
  profile TEXT NOT NULL,
  not_before INTEGER,
  not_after INTEGER,
  expires INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  error TEXT,                      -- problem document
  csr BLOB,                        -- DER, set by finalize
  certificate_id TEXT UNIQUE       -- set once, by compare-and-set: at most one is ever delivered
) STRICT;
CREATE INDEX orders_by_account ON orders (account_id, created_at);
CREATE INDEX orders_open ON orders (status, expires) WHERE status IN ('pending', 'ready', 'processing');

CREATE TABLE authorizations (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  status TEXT NOT NULL,
  type TEXT NOT NULL,              -- identifier type: "dns"
  value TEXT NOT NULL,             -- without "*."
  wildcard INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  method TEXT,                     -- the challenge type really used
  adn TEXT,                        -- Authorization Domain Name (BR 5.4.1)
  oldest_datum INTEGER,            -- time of the oldest datum that the validation rests on
  evidence BLOB                    -- msgpack array of SignedStatement
) STRICT;
CREATE INDEX authorizations_reuse ON authorizations (account_id, value, wildcard, status);

CREATE TABLE order_authorizations (
  order_id TEXT NOT NULL REFERENCES orders (id),
  position INTEGER NOT NULL,
  authorization_id TEXT NOT NULL REFERENCES authorizations (id),
  PRIMARY KEY (order_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX order_authorizations_back ON order_authorizations (authorization_id);

CREATE TABLE challenges (
  id TEXT PRIMARY KEY,
  authorization_id TEXT NOT NULL REFERENCES authorizations (id),
  type TEXT NOT NULL,
  status TEXT NOT NULL,
  token TEXT NOT NULL,
  validated INTEGER,
  error TEXT,                      -- problem document
  attempts INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX challenges_by_authorization ON challenges (authorization_id);

CREATE TABLE issuers (
  id TEXT PRIMARY KEY,
  use TEXT NOT NULL,
  algorithm TEXT NOT NULL,
  certificate BLOB NOT NULL,
  chain BLOB NOT NULL,             -- PEM: the issuer first, without the root
  crl_shards INTEGER NOT NULL,
  added_at INTEGER NOT NULL
) STRICT;

CREATE TABLE certificates (        -- the register: core/certificates.py
  id TEXT PRIMARY KEY,             -- the issuance id, and the last part of the certificate's URL
  serial BLOB NOT NULL UNIQUE,
  issuer_id TEXT NOT NULL REFERENCES issuers (id),
  crl_shard INTEGER NOT NULL,      -- fixed at issuance
  state TEXT NOT NULL,             -- "reserved", "issued", "lost" (intent without result), "abandoned" (key never used)
  request_id TEXT,                 -- whoever asked, opaque here (the order's id)
  account_url TEXT,
  profile TEXT NOT NULL,
  names TEXT NOT NULL,             -- JSON array
  spki_sha256 BLOB NOT NULL,
  not_before INTEGER NOT NULL,
  not_after INTEGER NOT NULL,
  versions TEXT NOT NULL,          -- JSON: terms, cps, profile, linter, software in force
  evidence BLOB,                   -- msgpack array of SignedStatement that the vault was shown
  lint TEXT,                       -- JSON
  tbs_sha256 BLOB,
  precertificate BLOB,
  certificate BLOB,
  created_at INTEGER NOT NULL,
  signed_at INTEGER
) STRICT;
CREATE INDEX certificates_open ON certificates (id) WHERE state = 'reserved';
CREATE INDEX certificates_by_request ON certificates (request_id);
CREATE INDEX certificates_by_spki ON certificates (spki_sha256);
CREATE INDEX certificates_by_expiry ON certificates (not_after);

CREATE TABLE revocations (         -- one row is the only truth; OCSP and CRL are its two readers
  serial BLOB PRIMARY KEY REFERENCES certificates (serial),
  issuer_id TEXT NOT NULL,
  crl_shard INTEGER NOT NULL,
  not_after INTEGER NOT NULL,
  revoked_at INTEGER NOT NULL,
  reason INTEGER NOT NULL,         -- RFC 5280 section 5.3.1; 0 means none is stated
  cause TEXT NOT NULL,             -- who asked, and why, for the auditors
  version INTEGER NOT NULL UNIQUE, -- the revocation version: rises with every change of any row
  published_at INTEGER             -- when a CRL with it was first published
) STRICT, WITHOUT ROWID;
CREATE INDEX revocations_by_shard ON revocations (issuer_id, crl_shard, not_after);

CREATE TABLE crls (
  issuer_id TEXT NOT NULL,
  shard INTEGER NOT NULL,
  number INTEGER NOT NULL,         -- CRLNumber, rises strictly within (issuer, shard)
  this_update INTEGER NOT NULL,
  next_update INTEGER NOT NULL,
  revocation_version INTEGER NOT NULL,
  sha256 BLOB NOT NULL,
  PRIMARY KEY (issuer_id, shard, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE blocked_keys (        -- for ever (BR 6.1.1.3)
  spki_sha256 BLOB PRIMARY KEY,
  reason TEXT NOT NULL,
  blocked_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
