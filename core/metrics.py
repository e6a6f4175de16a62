"""What operators can measure of this process, in Prometheus' text format.

Every process has one registry of its own.  A room makes its counters here by `REGISTRY` and the process
serves `render()` on its metrics address.

Must never: carry a name, an account or an address as a label: metrics are no log, and stay few.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.process_collector import ProcessCollector

REGISTRY = CollectorRegistry()
"""Not the library's global one, which collects whatever any imported library puts into it."""

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Histogram buckets: from one group commit to the longest validation."""

ProcessCollector(registry=REGISTRY)

JOBS = Counter("acme_jobs", "Jobs ended, by kind and outcome.", ("kind", "outcome"), registry=REGISTRY)
JOBS_RUNNING = Gauge("acme_jobs_running", "Jobs running now.", ("kind",), registry=REGISTRY)
JOB_SECONDS = Histogram(
    "acme_job_seconds", "Duration of a job's run.", ("kind",), buckets=SECONDS, registry=REGISTRY
)
COMMITS = Counter("acme_database_commits", "Group commits, by outcome.", ("outcome",), registry=REGISTRY)
UNITS = Counter("acme_database_units", "Units of work that went through the writer.", registry=REGISTRY)
LIMITED = Counter("acme_rate_limited", "Requests refused by a limit.", ("limit",), registry=REGISTRY)
REPORTS_OPEN = Gauge("acme_problem_reports_open", "Problem reports that are not closed.", registry=REGISTRY)
REPORTS_LATE = Gauge(
    "acme_problem_reports_late", "Open problem reports with a step that is too late.", registry=REGISTRY
)
REPORTS_USED = Gauge(
    "acme_problem_report_deadline_used",
    "The largest part of a problem report's deadline that is over; 1 is all of it.",
    registry=REGISTRY,
)
HELD = Gauge("acme_orders_held", "Orders that wait for a person.", registry=REGISTRY)


CRL_SECONDS = Histogram("acme_crl_seconds", "Issuing one CRL.", buckets=SECONDS, registry=REGISTRY)
CRL_WAIT = Histogram(
    "acme_crl_wait_seconds",
    "From the commit of the first revocation that a CRL publishes to its publication, for each CRL.",
    buckets=(1, 2, 5, 10, 15, 20, 30, 45, 60, 120, 300, 3600, 86400),
    registry=REGISTRY,
)
CRL_OCTETS = Gauge("acme_crl_octets", "Length of the newest CRL.", ("issuer", "shard"), registry=REGISTRY)


def render() -> bytes:
    """All metrics of this process; send it with `CONTENT_TYPE`."""
    return generate_latest(REGISTRY)
