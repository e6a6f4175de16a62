-- Every attempt at a validation or a CAA recheck, passed or not (BR 5.4.1; docs/adr/0018).

CREATE TABLE attempts (            -- appended in the transaction of the result, never changed
  sequence INTEGER PRIMARY KEY,
  id TEXT NOT NULL,                -- as the statements name it
  at INTEGER NOT NULL,             -- when the perspectives were asked
  took INTEGER NOT NULL,           -- milliseconds until the outcome was known
  account_id TEXT NOT NULL REFERENCES accounts (id),
  authorization_id TEXT NOT NULL REFERENCES authorizations (id),
  challenge_id TEXT REFERENCES challenges (id),   -- NULL in a CAA recheck
  order_id TEXT REFERENCES orders (id),           -- NULL in a validation
  name TEXT NOT NULL,              -- as the certificate will carry it
  domain TEXT NOT NULL,            -- its registered domain (eTLD+1), for the back-off
  method TEXT NOT NULL,            -- the challenge type
  adn TEXT NOT NULL,               -- Authorization Domain Name
  result TEXT NOT NULL,            -- "pass", "fail", "indeterminate"
  problem TEXT NOT NULL,
  detail TEXT NOT NULL,
  control_quorum TEXT NOT NULL,    -- "passed/attempted" of the remote perspectives; '' when not asked
  caa_quorum TEXT NOT NULL,
  oldest_datum INTEGER,            -- of the statements; NULL without any
  views BLOB NOT NULL,             -- msgpack array of core.outcome.View
  statements BLOB NOT NULL,        -- msgpack array of SignedStatement
  set_aside BLOB                   -- those that contradict themselves, likewise; NULL: none, as nearly always
) STRICT;
CREATE INDEX attempts_by_authorization ON attempts (authorization_id);
CREATE INDEX attempts_by_domain ON attempts (account_id, domain, result, at) WHERE challenge_id IS NOT NULL;

CREATE TRIGGER attempts_stay BEFORE DELETE ON attempts BEGIN SELECT RAISE(ABORT, 'attempts are kept'); END;
CREATE TRIGGER attempts_stand BEFORE UPDATE ON attempts BEGIN SELECT RAISE(ABORT, 'attempts stand as they are'); END;

-- What older software knew of validations that passed.  Its statements hold the rest.
INSERT INTO attempts (id, at, took, account_id, authorization_id, challenge_id, name, domain, method, adn, result,
                      problem, detail, control_quorum, caa_quorum, oldest_datum, views, statements)
  SELECT z.id, COALESCE(z.oldest_datum, z.created_at), 0, z.account_id, z.id,
         (SELECT c.id FROM challenges c WHERE c.authorization_id = z.id AND c.status = 'valid'),
         CASE z.wildcard WHEN 1 THEN '*.' || z.value ELSE z.value END, '', COALESCE(z.method, ''),
         COALESCE(z.adn, ''), 'pass', '', 'made before attempts were recorded', '', '', z.oldest_datum, x'90', z.evidence
  FROM authorizations z WHERE z.evidence IS NOT NULL ORDER BY z.oldest_datum;

ALTER TABLE authorizations ADD COLUMN attempt INTEGER REFERENCES attempts (sequence);  -- the one that made it valid
UPDATE authorizations SET attempt = (SELECT a.sequence FROM attempts a WHERE a.authorization_id = authorizations.id)
  WHERE evidence IS NOT NULL;
ALTER TABLE authorizations DROP COLUMN evidence;
