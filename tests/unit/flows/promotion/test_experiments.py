"""Starting experiments and pinning by hand: which bundles may be named, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.experiments import BundlePlace, read_experiments
from core.layout import Layout
from core.promotions import read_standing
from flows.errors import BundleNotFound, BundleRefused, NothingInService
from flows.promotion.bundles import version_rows
from flows.promotion.experiments import (
    candidates_in_use,
    experiment_rows,
    find_place,
    pin_version,
    start_experiment,
)
from flows.promotion.model_store import promote, roll_back
from flows.pruning import prune
from recommender.errors import BundleError
from tests.unit.flows.promotion.written_bundle import write_bundle
from tests.unit.recommender.tiny_shop import DATA

LEARNED = DATA.learned_until_at.isoformat()


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A shop with two promoted bundles, and a candidate that was not."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    made = Layout(tmp_path, "shop")
    for digest in ("first", "second", "third"):
        folder = write_bundle(made.bundle(digest), f"{digest}-digest", shop="shop")
        if digest != "third":
            promote(folder, made.model_name, {"digest": f"{digest}-digest"})
    return made


def test_a_version_and_a_candidate_are_found_by_their_digest(layout: Layout) -> None:
    version = read_standing(layout.model_name).changes[0].version
    assert find_place(layout, version) == BundlePlace(version=version, digest="first-digest", learned_until=LEARNED)
    assert find_place(layout, str(layout.bundle("third"))) == BundlePlace(
        candidate="candidates/third", digest="third-digest", learned_until=LEARNED
    )
    assert find_place(layout, "third-d").candidate == "candidates/third"


def test_what_the_service_cannot_serve_is_refused_before_it_is_tried(layout: Layout, tmp_path: Path) -> None:
    other = write_bundle(tmp_path / "elsewhere", "other-digest", shop="another")
    with pytest.raises(BundleRefused, match="Cannot experiment: shop=another, expected shop"):
        find_place(layout, str(other))
    outside = write_bundle(tmp_path / "outside", "outside-digest", shop="shop")
    with pytest.raises(BundleRefused, match="expected a version in the model store, or a bundle below"):
        find_place(layout, str(outside))
    damaged = next(
        path for path in layout.bundle("third").rglob("*") if path.is_file() and path.name != "manifest.json"
    )
    damaged.write_bytes(b"torn")
    with pytest.raises(BundleError, match="Cannot load bundle"):
        start_experiment(layout, "try", "split", {"new": (str(layout.bundle("third")), 0.5)})
    assert read_experiments(layout.model_name).experiments == ()


def test_nothing_is_tried_beside_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    with pytest.raises(NothingInService, match="expected a shop with a promoted bundle"):
        start_experiment(Layout(tmp_path, "shop"), "try", "split", {"new": ("nowhere", 0.5)})


def test_a_candidate_that_is_tried_is_not_pruned(layout: Layout) -> None:
    start_experiment(layout, "try", "canary", {"new": (str(layout.bundle("third")), 0.05)}, "a reason")
    assert candidates_in_use(layout) == {layout.bundle("third")}
    prune(layout, kept=0)
    assert layout.bundle("third").is_dir()
    assert not layout.bundle("second").exists()


def test_rows_say_what_became_of_each(layout: Layout) -> None:
    start_experiment(layout, "try", "canary", {"new": (str(layout.bundle("third")), 0.05)}, "a reason")
    name = layout.model_name
    (row,) = experiment_rows(read_experiments(name), read_standing(name))
    assert (row["experiment"], row["state"], row["bundle"], row["note"]) == (
        "try",
        "running",
        "candidate third-digest",
        "a reason",
    )
    roll_back(name)
    (row,) = experiment_rows(read_experiments(name), read_standing(name))
    assert row["state"] == "overruled"
    assert row["note"].startswith("a rollback at ")


def test_a_version_is_pinned_and_a_candidate_is_not(layout: Layout) -> None:
    first, second = (change.version for change in read_standing(layout.model_name).changes)
    assert pin_version(layout, first).version == first
    states = {row["version"]: row["state"] for row in version_rows(layout.model_name)}
    assert states == {first: "replaced, pinned", second: "in service"}
    assert pin_version(layout, "").version == second
    with pytest.raises(BundleNotFound, match="a candidate, expected a version in the model store"):
        pin_version(layout, str(layout.bundle("third")))
