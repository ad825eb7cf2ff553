"""Where a drift report lies, and which bundle a look is told of."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.layout import Layout
from flows.steps import drift
from flows.steps.drift import _page
from flows.steps.step import Output

END = datetime(2026, 6, 1, tzinfo=UTC)


def test_reports_of_other_settings_or_cut_offs_do_not_overwrite_each_other():
    layout, clean = Layout(Path("work"), "shop"), Output(Path("clean"), "c1", None)
    one, two = (_page(layout, key, {"clean": clean}) for key in ("k1", "k2"))
    assert one != two
    assert one.parent == two.parent


@pytest.mark.parametrize("digest", ["d1", None])
def test_a_look_is_told_which_bundle_is_in_service(monkeypatch: pytest.MonkeyPatch, digest: str | None) -> None:
    told: dict[str, Any] = {}
    served = None if digest is None else SimpleNamespace(digest=digest, data=SimpleNamespace(learned_until_at=END))
    for name in ("sum_up_days", "replay_days", "rate_days", "read_standing", "write_index", "publish_look"):
        monkeypatch.setattr(drift, name, lambda *_, **__: "")
    monkeypatch.setattr(drift, "artifacts", SimpleNamespace(publish_drift=lambda *_: None))
    monkeypatch.setattr(drift, "read_served_manifest", lambda _: served)
    monkeypatch.setattr(drift, "watch_drift", lambda _, **given: told.update(given) or Output(Path("page"), "k", None))
    monkeypatch.setattr("monitoring.extent.find_extent", lambda _: None)
    monkeypatch.setattr("monitoring.drift.live_end", lambda *_: None)
    run = SimpleNamespace(layout=Layout(Path("work"), "shop"), page_url=lambda _: "", monitoring_url="")
    drift.watch(run, Output(Path("clean"), "c1", None), END)
    assert told["in_service"] == digest
    assert told["learned_until"] == (None if digest is None else END)
