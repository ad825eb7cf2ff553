"""Reader of kind "simulated": the shop has the properties that it promises."""

from __future__ import annotations

import collections
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from core.settings.source import SimulatedSource
from tests.unit.validation.source_files import read_raw
from validation.sources import simulated

SMALL = SimulatedSource(n_users=200, n_items=80, dirty_share=0.0)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory):
    return read_raw(simulated, SMALL, tmp_path_factory.mktemp("shop"))


def test_the_same_seed_gives_the_same_shop_and_another_another(shop, tmp_path: Path) -> None:
    assert read_raw(simulated, SMALL, tmp_path / "again") == shop
    assert read_raw(simulated, SMALL.model_copy(update={"seed": 12}), tmp_path / "other") != shop


def test_it_is_as_large_as_it_was_asked_to_be(shop) -> None:
    assert (len(shop["users"]), len(shop["items"])) == (200, 80)
    assert 15 < len(shop["interactions"]) / 200 < 35
    assert 3 < len(shop["feedback"]) / 200 < 8
    assert len({row["title"] for row in shop["items"]}) > 70


def test_times_lie_within_the_log_and_after_the_item_was_made(shop) -> None:
    made = {row["item_id"]: row["created_at"] for row in shop["items"]}
    joined = {row["user_id"]: row["signup_at"] for row in shop["users"]}
    for row in shop["interactions"]:
        assert "2025-06-30" <= row["timestamp"][:10] <= "2026-06-30"
        assert made[row["item_id"]] <= row["timestamp"]
        assert joined[row["user_id"]] <= row["timestamp"]


def test_a_purchase_follows_a_view_and_a_rating_a_purchase(shop) -> None:
    seen = collections.defaultdict(set)
    for row in sorted(shop["interactions"], key=lambda row: row["timestamp"]):
        before = {"purchase": "view", "rating": "purchase"}.get(row["event"])
        if before:
            assert (row["item_id"], before) in seen[row["user_id"]]
        seen[row["user_id"]].add((row["item_id"], row["event"]))


def test_baskets_share_a_timestamp_and_have_positions(shop) -> None:
    purchases = [row for row in shop["interactions"] if row["event"] == "purchase"]
    together = collections.Counter((row["user_id"], row["timestamp"]) for row in purchases)
    assert max(together.values()) > 1
    assert len({(row["user_id"], row["timestamp"], row["position"]) for row in purchases}) == len(purchases)


def test_reviews_name_what_the_item_is_like_and_praise_follows_the_rating(shop) -> None:
    about = {row["item_id"]: json.loads(row["attributes"])["character"] for row in shop["items"]}
    named = np.mean([about[row["item_id"]] in row["text"] for row in shop["feedback"]])
    anyone = np.mean([about[shop["items"][0]["item_id"]] in row["text"] for row in shop["feedback"]])
    assert named > 2 * anyone
    dear = [row["rating"] for row in shop["feedback"] if "Worth every penny" in row["text"]]
    poor = [row["rating"] for row in shop["feedback"] if "Not worth the price" in row["text"]]
    assert dear
    assert poor
    assert min(map(int, dear)) >= 4 > max(map(int, poor))


def test_reviews_are_not_a_handful_of_strings(shop) -> None:
    texts = [row["text"] for row in shop["feedback"]]
    assert len(set(texts)) > 0.9 * len(texts)


def test_the_next_purchase_follows_the_thread_of_the_last(shop) -> None:
    """What a sequence model can learn: the next item shares the last one's character far more than chance has it."""
    character = {row["item_id"]: json.loads(row["attributes"])["character"] for row in shop["items"]}
    bought = collections.defaultdict(list)
    for row in sorted(shop["interactions"], key=lambda row: (row["timestamp"], int(row["position"]))):
        if row["event"] == "purchase":
            bought[row["user_id"]].append(character[row["item_id"]])
    pairs = [pair for items in bought.values() for pair in itertools.pairwise(items)]
    same = np.mean([a == b for a, b in pairs])
    shares = np.array(list(collections.Counter(b for _, b in pairs).values())) / len(pairs)
    assert same > 2 * float((shares**2).sum())


def test_ratings_use_the_scale(shop) -> None:
    counts = collections.Counter(row["value"] for row in shop["interactions"] if row["event"] == "rating")
    total = sum(counts.values())
    assert set(counts) == {"1", "2", "3", "4", "5"}
    assert max(counts.values()) < 0.6 * total


def test_dirt_comes_in_many_kinds(tmp_path: Path) -> None:
    raw = read_raw(simulated, SMALL.model_copy(update={"dirty_share": 0.3}), tmp_path)
    assert any(row["value"] == "Like" for row in raw["interactions"])
    assert any(row["item_id"] is None for row in raw["interactions"])
    assert any(row["timestamp"] == "31/31/25" for row in raw["interactions"])
    assert any(row["price"] == "-1" for row in raw["items"])
    assert any("&amp;" in (row["text"] or "") for row in raw["feedback"])
    rows = [json.dumps(row["source"], sort_keys=True) for row in raw["interactions"]]
    assert len(set(rows)) < len(rows)
