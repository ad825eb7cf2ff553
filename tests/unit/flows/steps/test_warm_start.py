"""Which weights a candidate may start from, and what a run says of it."""

from types import SimpleNamespace

import pytest

from flows.steps.step import Output
from flows.steps.warm_start import Plan, leak, start_rows
from recommender.bundle.manifest import Chain, read_manifest
from recommender.fitting.summary import FitSummary
from recommender.fitting.warm_start import Work
from tests.unit.flows.promotion.written_bundle import write_bundle
from tests.unit.recommender.tiny_shop import DATA

# What was judged learned until May and chose its weights by May: June is its test window.
JUDGED = DATA.model_copy(update={"learned_until": "2026-05-01T00:00:00+00:00"})
SERVED = DATA.model_copy(update={"learned_until": "2026-06-30T00:00:00+00:00"})


def windows(validation_at: str, test_at: str):
    at = (f"2026-{day}T00:00:00+00:00" for day in (validation_at, test_at))
    return SimpleNamespace(**dict(zip(("validation_at", "test_at"), at, strict=True)))


@pytest.mark.parametrize(
    ("validation_at", "test_at", "told"),
    [
        ("05-01", "06-01", ""),  # the very windows
        ("05-15", "06-10", ""),
        ("07-01", "08-01", ""),
        ("04-30", "06-10", "learned until 2026-05-01"),
        ("05-10", "05-20", "chosen by events until 2026-06-01"),
    ],
)
def test_what_is_judged_starts_from_weights_that_know_nothing_of_its_windows(tmp_path, validation_at, test_at, told):
    manifest = read_manifest(write_bundle(tmp_path / "b", "judged", data=JUDGED))
    found = leak(manifest, windows(validation_at, test_at))
    assert (told in found) if told else found == ""


@pytest.mark.parametrize(("validation_at", "is_known"), [("06-29", True), ("06-30", True), ("07-01", False)])
def test_what_was_fitted_again_judges_only_what_came_after_its_newest_event(tmp_path, validation_at, is_known):
    # It learned of its newest event too, unlike a judged one of the moment at which its window opens.
    manifest = read_manifest(write_bundle(tmp_path / "b", "refit", data=SERVED, judged="judged"))
    assert bool(leak(manifest, windows(validation_at, "07-10"))) == is_known


def test_the_two_bundles_of_a_run_name_their_own_parents(tmp_path):
    judged, served = (Output(tmp_path, name, (name, "2026-05-01T00:00:00+00:00", 0.5)) for name in ("j", "s"))
    plan = Plan(judged, served, 3, "those of bundle j")
    assert plan.chain == Chain(parent="j", judged_parent="j", length=3)
    assert plan.served_chain == Chain(parent="s", judged_parent="j", length=3)
    assert (Plan(reason="it is off").chain, Plan(reason="it is off").served_chain) == (None, None)


def test_a_row_says_what_was_new_against_a_full_fit_or_why_it_was_one(tmp_path):
    work = Work(parent="p" * 20, unit="next items", new=5, replayed=4, full=90)
    for name, done in (("sequence", work), ("blend", None)):
        (tmp_path / name).mkdir()
        summary = FitSummary(folder=tmp_path, epochs=2, best_epoch=1, metrics={}, seconds=1.26, work=done)
        summary.write(tmp_path / name)
    folders = {name: tmp_path / name for name in ("sequence", "blend")}
    warm = Plan(Output(tmp_path, "", ("p", "", 0.5)), None, 1, "those of p")
    first, second = start_rows(warm, folders)
    assert list(first.values()) == ["sequence", "bundle pppppppppppppppp", "5 next items", 4, 90, 2, 1.3]
    assert second["start"] == "nothing: this part has no warm start"
    assert start_rows(Plan(reason="it is off"), {"vectors": tmp_path / "sequence"})[0]["part"] == "vectors"
    full = start_rows(Plan(reason="it is off"), {"sequence": tmp_path / "blend"})
    assert full[0]["start"] == "nothing: it is off"
