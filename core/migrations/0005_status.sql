-- Status and the repository: what relying parties see.

-- What a register restored from a backup lacks (core/gaps.py): while one is open, the CA is closed.
CREATE TABLE register_gaps (
  subject TEXT PRIMARY KEY,        -- "certificates", "crl ec-1-0" ...
  missing TEXT NOT NULL,           -- what is missing, for a person
  remedy TEXT NOT NULL,
  detail TEXT NOT NULL,            -- JSON: by what it is recognised
  found_at INTEGER NOT NULL,
  closed_at INTEGER,
  closed_by TEXT,
  closed_how TEXT
) STRICT;

-- The highest revocation version that was ever made, where a restored register knows of lower ones only.
CREATE TABLE revocation_floor (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  version INTEGER NOT NULL
) STRICT;

-- What was issued and what was revoked on a day (the repository's manifest).
CREATE INDEX certificates_by_signing ON certificates (signed_at) WHERE signed_at IS NOT NULL;
CREATE INDEX revocations_by_time ON revocations (revoked_at);

-- Certificate problem reports (BR 4.9.3, 4.9.5): from the page's spool, or entered for a mail or a call.
-- contact and description may hold personal data: a time after a report was closed they become ''.
CREATE TABLE problem_reports (
    number TEXT PRIMARY KEY,                -- the receipt number
    received_at INTEGER NOT NULL,           -- when the clocks began
    channel TEXT NOT NULL CHECK (channel IN ('page', 'mail', 'telephone', 'other')),
    kind TEXT NOT NULL,                     -- what the reporter says it is
    language TEXT NOT NULL,
    proven_key BLOB,                        -- SHA-256 of the SubjectPublicKeyInfo whose compromise was proven
    answered_at INTEGER,
    decided_at INTEGER,
    cause TEXT NOT NULL DEFAULT '',         -- '' with decided_at: nothing is to be revoked
    run_id TEXT NOT NULL DEFAULT '',        -- of revocation_runs
    revoked_at INTEGER,                     -- when all of it stood on public CRLs
    closed_at INTEGER,
    erased_at INTEGER,                      -- when contact and description were taken away
    -- What is long comes last: the clocks of all open reports are read without it.
    answer TEXT NOT NULL DEFAULT '',
    named TEXT NOT NULL,                    -- JSON {serials, keys, names}
    description TEXT NOT NULL,
    contact TEXT NOT NULL,
    proof BLOB                              -- msgpack core.key_proofs.Proof, whether or not it proved anything
) STRICT;
CREATE INDEX problem_reports_open ON problem_reports (received_at) WHERE closed_at IS NULL;

CREATE INDEX problem_reports_to_erase ON problem_reports (closed_at)
    WHERE closed_at IS NOT NULL AND erased_at IS NULL;

-- What happened to a report, and who did it; alarms too, so that each is raised once.
CREATE TABLE problem_report_events (
    id INTEGER PRIMARY KEY,
    number TEXT NOT NULL REFERENCES problem_reports (number),
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    event TEXT NOT NULL,
    note TEXT NOT NULL
) STRICT;
CREATE INDEX problem_report_events_by_number ON problem_report_events (number, id);

CREATE TABLE document_approvals (  -- versions of the CP/CPS and of the terms (CPS 1.5.4); what is public is made of these texts
  document TEXT NOT NULL,          -- "cp-cps", "terms"
  version TEXT NOT NULL,
  digest BLOB NOT NULL,            -- SHA-256 over the drafts (repo_static/documents/text.py)
  english TEXT NOT NULL,           -- the draft as it was approved, in Markdown
  japanese TEXT NOT NULL,
  approved_at INTEGER NOT NULL,
  approved_by TEXT NOT NULL,
  minutes TEXT NOT NULL,           -- where the decision is written down
  summary_en TEXT NOT NULL,        -- what changed and why: the line of the change log
  summary_ja TEXT NOT NULL,
  published_at INTEGER,            -- NULL: not yet
  effective_at INTEGER,            -- from when it binds; not before published_at
  PRIMARY KEY (document, version)
) STRICT, WITHOUT ROWID;

-- Why an issuing CA must be revoked, and since when the CA knows (BR 4.9.1.2): a clock of 7 days.
CREATE TABLE issuer_causes (
  id INTEGER PRIMARY KEY,
  issuer_id TEXT NOT NULL REFERENCES issuers (id),
  learned_at INTEGER NOT NULL,
  note TEXT NOT NULL,
  recorded_at INTEGER NOT NULL,
  recorded_by TEXT NOT NULL,
  explanation_url TEXT NOT NULL,   -- of a page for subscribers, "" for none
  ended_at INTEGER,                -- when its revocation was seen in public, or somebody said so
  ended_how TEXT NOT NULL DEFAULT '',
  revoked INTEGER NOT NULL DEFAULT 0  -- it ended with the revocation, and not because none was due
) STRICT;

-- CRLs: entries are read by ranges of serial numbers, and what waits for its publication is found at once.
ALTER TABLE revocations ADD COLUMN changed_at INTEGER;  -- when this version of the row was committed
DROP INDEX revocations_by_shard;
-- All that a CRL says of an entry: a million rows of a shard are read from here, and none is looked up.
CREATE INDEX revocations_by_shard
    ON revocations (issuer_id, crl_shard, serial, revoked_at, reason, not_after, version);
CREATE INDEX revocations_unpublished ON revocations (issuer_id, crl_shard) WHERE published_at IS NULL;
-- The next CRL finds there what has changed; what is not found would wait for a day.
CREATE TRIGGER revocations_change BEFORE UPDATE OF version ON revocations
    WHEN NEW.version > OLD.version AND NEW.published_at IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'a revocation that changes is not published any more'); END;
-- Who answers looks at the newest version alone to see whether anything changed.
CREATE TRIGGER revocations_insert BEFORE INSERT ON revocations
    WHEN NEW.version <= (SELECT max(version) FROM revocations)
    BEGIN SELECT RAISE(ABORT, 'a revocation takes a new highest version'); END;
CREATE TRIGGER revocations_version
    BEFORE UPDATE OF serial, issuer_id, crl_shard, revoked_at, reason, version ON revocations
    WHEN NEW.version <= (SELECT max(version) FROM revocations)
    BEGIN SELECT RAISE(ABORT, 'a revocation that changes takes a new highest version'); END;
