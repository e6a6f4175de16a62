from __future__ import annotations

from core import metrics


def test_the_metrics_are_text_with_the_process_in_it() -> None:
    text = metrics.render().decode()
    assert "process_cpu_seconds_total" in text
    assert metrics.CONTENT_TYPE.startswith("text/plain")


def test_the_librarys_global_registry_is_not_used() -> None:
    assert "python_info" not in metrics.render().decode()
