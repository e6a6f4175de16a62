-- Status and the repository: what relying parties see.

-- What was issued and what was revoked on a day (the repository's manifest).
CREATE INDEX certificates_by_signing ON certificates (signed_at) WHERE signed_at IS NOT NULL;
CREATE INDEX revocations_by_time ON revocations (revoked_at);
