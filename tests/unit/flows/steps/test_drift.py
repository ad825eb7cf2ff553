"""Where a drift report lies, and which bundle a look is told of."""

import re
import weakref
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.layout import Layout
from core.schema import TABLES
from core.settings.tree import Recipe
from flows.steps import drift
from flows.steps.drift import _page
from flows.steps.step import Output
from monitoring.answers.asked_days import Replayed
from monitoring.answers.replay import ReplayDay
from monitoring.embeddings.items import read_items
from monitoring.embeddings.reviews import read_reviews
from monitoring.extent import Extent
from recommender.bundle.data_range import DataRange
from recommender.bundle.manifest import Manifest
from tests.unit.flows.promotion.written_bundle import write_bundle
from tests.unit.monitoring.embeddings.shop import save_vectors
from tests.unit.recommender.tiny_shop import DATA, save_tiny_encoder

END = datetime(2026, 6, 1, tzinfo=UTC)


def test_reports_of_other_settings_or_cut_offs_do_not_overwrite_each_other():
    layout, clean = Layout(Path("work"), "shop"), Output(Path("clean"), "c1", None)
    one, two = (_page(layout, key, {"clean": clean}) for key in ("k1", "k2"))
    assert one != two
    assert one.parent == two.parent


@pytest.mark.parametrize(
    ("digest", "embeds", "is_done"), [("d1", True, True), ("d1", True, False), (None, False, False)]
)
def test_a_look_is_told_which_bundle_is_in_service_and_whether_to_embed_and_tells_what_it_did(
    monkeypatch: pytest.MonkeyPatch, digest: str | None, embeds: bool, is_done: bool
) -> None:
    told: dict[str, Any] = {}
    served = None if digest is None else SimpleNamespace(digest=digest, data=SimpleNamespace(learned_until_at=END))
    found = drift.Embedded("", is_done, "why")
    for name in (
        "sum_up_days",
        "replay_days",
        "rate_days",
        "read_standing",
        "write_index",
        "publish_variants",
    ):
        monkeypatch.setattr(drift, name, lambda *_, **__: "")
    monkeypatch.setattr(drift, "embed_days", lambda _, **given: told.update(embeds=given["embeds"]) or found)
    monkeypatch.setattr(drift, "publish_look", lambda *_, **given: told.update(published=given["embeds"]))
    monkeypatch.setattr(drift, "artifacts", SimpleNamespace(publish_drift=lambda *_: None))
    monkeypatch.setattr(drift, "read_served_manifest", lambda _: served)
    nothing = Output(Path("page"), "k", SimpleNamespace(alarms=(), signals=()))
    monkeypatch.setattr(drift, "watch_drift", lambda _, **given: told.update(given) or nothing)
    monkeypatch.setattr("monitoring.extent.find_extent", lambda _: None)
    monkeypatch.setattr("monitoring.drift.live_end", lambda *_: None)
    run = SimpleNamespace(layout=Layout(Path("work"), "shop"), page_url=lambda _: "", monitoring_url="")
    drift.watch(run, Output(Path("clean"), "c1", None), END, embeds=embeds)
    assert told["embeds"] == embeds
    assert told["published"] == is_done
    assert told["not_embedded"] == "why"
    assert told["in_service"] == digest
    assert told["learned_until"] == (None if digest is None else END)


def test_a_look_asks_the_bundle_about_new_days_alone_and_knows_when_its_catalogue_was_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It was judged: it learned nothing of the last week, and knows the items of that week all the same."""
    times = {
        "validation_at": END - timedelta(days=9),
        "test_at": END - timedelta(days=8),
        "last_event_at": END - timedelta(days=2),
    }
    data = DataRange(**DATA.model_dump() | {name: at.isoformat() for name, at in times.items()})
    folder = write_bundle(tmp_path / "bundle", "d1", data=data)
    loaded, asked, known = [], [], []

    def replay(
        _: Path, clean: Path, states_then: object, ranker: object, bundle: Replayed, wanted: list[date]
    ) -> list[ReplayDay]:
        assert states_then == (tmp_path, Recipe().features)
        asked.append((bundle, wanted))
        known.extend(ReplayDay(day=day, digest=bundle.digest, figures={}) for day in wanted)
        return known

    monkeypatch.setattr(drift, "read_standing", lambda _: SimpleNamespace(in_service=SimpleNamespace(folder=folder)))
    monkeypatch.setattr(
        "recommender.bundle.loading.load_bundle", lambda *_, **__: loaded.append(1) or SimpleNamespace(ranker=None)
    )
    monkeypatch.setattr("features.point_in_time.states.StatesThen", lambda *given: given)
    monkeypatch.setattr("monitoring.answers.replay.replay", replay)
    monkeypatch.setattr("monitoring.answers.replay.read_replay_days", lambda _: list(known))
    step = SimpleNamespace(layout=Layout(tmp_path, "shop"), device="cpu", recipe=Recipe())
    look = drift.replay_days.__wrapped__  # type: ignore[attr-defined]
    for newest, n_loaded in ((END, 1), (END + timedelta(hours=5), 1), (END + timedelta(days=1), 2)):
        look(step, Output(tmp_path, "c1", None), Extent(first=None, newest=newest), drift.Then(tmp_path))
        assert len(loaded) == n_loaded
    (bundle, first), (_, second) = asked
    assert (bundle.learned_until, bundle.catalogue_at) == (times["validation_at"], times["last_event_at"])
    assert (first[0], len(first), second) == (date(2026, 5, 24), 8, [date(2026, 6, 1)])


def test_the_events_are_read_once_for_all_that_is_asked_of_a_bundle_and_not_kept_after(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = write_bundle(tmp_path / "bundle", "d1", data=DATA)
    bundle = SimpleNamespace(
        ranker=None,
        catalogue=SimpleNamespace(ids=()),
        scorer=SimpleNamespace(baseline=SimpleNamespace(like_from=4.0)),
    )
    made: list[weakref.ref[object]] = []
    used: list[weakref.ref[object]] = []

    class Read:
        def __init__(self, clean: Path, settings: object) -> None:
            made.append(weakref.ref(self))

    def use(_: Path, clean: Path, states_then: object, *__: object) -> list[ReplayDay]:
        used.append(weakref.ref(states_then))
        return []

    monkeypatch.setattr(drift, "read_standing", lambda _: SimpleNamespace(in_service=SimpleNamespace(folder=folder)))
    monkeypatch.setattr(Manifest, "has", lambda *_: True)
    monkeypatch.setattr("recommender.bundle.loading.load_bundle", lambda *_, **__: bundle)
    monkeypatch.setattr("features.point_in_time.states.StatesThen", Read)
    monkeypatch.setattr("monitoring.answers.replay.replay", use)
    monkeypatch.setattr("monitoring.answers.rated.rate", use)
    step = SimpleNamespace(layout=Layout(tmp_path, "shop"), device="cpu", recipe=Recipe())
    extent, then = Extent(first=None, newest=END), drift.Then(tmp_path)
    for look in (drift.replay_days, drift.rate_days):
        look.__wrapped__(step, Output(tmp_path, "c1", None), extent, then)  # type: ignore[attr-defined]
    assert len(made) == 1
    assert [one() for one in used] == [made[0]()] * 2
    assert made[0]() is not None
    del then
    assert made[0]() is None


@pytest.mark.parametrize("case", ["old", "young", "without vectors", "encoder away", "left to monitor"])
def test_a_look_embeds_by_the_bundle_in_service_where_the_shop_is_old_enough_and_goes_on_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: str
) -> None:
    is_away = case in ("encoder away", "left to monitor")  # which is not asked for where texts are left to `monitor`
    model = save_tiny_encoder(tmp_path / "tiny") if not is_away else tmp_path / "nowhere"
    ids = [f"i{n}" for n in range(30)]
    files = {} if case == "without vectors" else {"vectors/x": ""}
    folder = write_bundle(tmp_path / "bundle", "d1", data=DATA, files=files)
    save_vectors(folder / "vectors", ids, np.random.default_rng(1).normal(size=(30, 16)), str(model))
    at = END - timedelta(days=1, hours=1)
    event = {"event": "view", "timestamp": at, "position": 0}
    review = {"item_id": "new", "rating": 5.0, "timestamp": at}
    said = [review | {"user_id": f"u{n}", "text": f"Very good {n}"} for n in range(6)]
    tables: dict[str, list[dict[str, Any]]] = {
        "items": [{"item_id": one, "title": f"Tea {one}"} for one in [*ids, "new"]],
        "interactions": [event | {"event_id": f"e{n}", "user_id": f"u{n}", "item_id": "new"} for n in range(6)],
        "feedback": said,
    }
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows, schema=TABLES[name].arrow()), tmp_path / f"{name}.parquet")  # type: ignore[index]
    monkeypatch.setattr(drift, "read_standing", lambda _: SimpleNamespace(in_service=SimpleNamespace(folder=folder)))
    told: list[str] = []
    layout = Layout(tmp_path / "work", "shop")
    step = SimpleNamespace(layout=layout, device="cpu", recipe=Recipe(), progress=told.append)
    first = END - timedelta(days=97 if case == "young" else 120)
    look = drift.embed_days.__wrapped__  # type: ignore[attr-defined]
    embeds, extent = case != "left to monitor", Extent(first=first, newest=END)
    looks = [look(step, Output(tmp_path, "c1", None), extent, END, embeds) for _ in range(2)]
    assert looks[0] == looks[1]
    why = {"encoder away": "Cannot load text encoder.*nowhere", "young": "do not span 98 days"}.get(case, "^$")
    assert re.search(why, looks[0].kept_by)
    assert looks[0].is_done == (case == "old")
    items, reviews = read_items(layout.watched, "d1"), read_reviews(layout.watched)
    if case == "old":
        assert items is not None
        assert reviews is not None
        assert set(items.item_ids) == {*ids, "new"}
        assert [(one.day, one.n) for one in reviews.days if one.n] == [(at.date(), 6)]
        later = Extent(first=first, newest=END + timedelta(days=3))
        look(step, Output(tmp_path, "c1", None), later, END, False)
        assert read_reviews(layout.watched) == reviews, "of the days since nothing is known, and what was kept stays"
        look(step, Output(tmp_path, "c1", None), later, END, True)
        caught_up = read_reviews(layout.watched)
        assert caught_up is not None
        assert len(caught_up.days) == len(reviews.days) + 3
    else:
        assert reviews is None
        assert (set() if items is None else set(items.item_ids)) == (set(ids) if is_away else set())
        assert any("nothing is embedded. Cannot load text encoder" in line for line in told) == (case == "encoder away")
