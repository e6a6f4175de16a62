"""Whether the vault may sign at all: evidence, the applicant's own words, SCTs, dates, blocked keys."""
