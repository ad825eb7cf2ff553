"""What waits for approval: what the gate wants, what becomes of a decision, and the files that runs wait with."""

import os
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from core.layout import Layout
from core.settings.platform import PlatformSettings
from flows.errors import NothingWaits
from flows.promotion.approvals import (
    Kept,
    Waiting,
    drop_waiting,
    find_waiting,
    folders_waiting,
    keep_waiting,
    list_waiting,
    read_waiting,
)
from flows.promotion.decision import follow_approval
from flows.promotion.gate import Approval, Decision
from flows.pruning import prune
from tests.unit.flows.promotion.test_gate import decided

KEPT_RESULTS = PlatformSettings().kept_results
WON = Decision(
    promote=True, reason="it is better", metric="m", candidate=0.2, served="blend", generation=3, needs_approval=True
)
ASKED = datetime(2026, 3, 1, 12, tzinfo=UTC)


def waiting(number=1, **changes):
    told = {
        "flow_run_id": f"0{number}ab",
        "run": f"calm-owl-{number}",
        "flow": "pipeline",
        "asked_at": (ASKED + timedelta(minutes=number)).isoformat(),
        "until": (ASKED + timedelta(hours=48)).isoformat(),
        "bundle": "refits/again",
        "digest": "d1",
        "decision": WON,
        "forgotten": 0,
        "parts": {"candidate": Kept(folder="candidates/new", key="k", value="digest")},
    }
    return Waiting(**told | changes)


@pytest.mark.parametrize(("rollout", "passes"), [("promote", "promote"), ("canary", "canary")])
def test_only_what_passes_beside_a_bundle_in_service_waits(rollout, passes):
    rules = {"approval": "required", "rollout": rollout}
    better = decided(0.05, 0.04, **rules)
    assert (better.verdict, better.waits) == (passes, True)
    assert not decided(0.03, 0.04, **rules).waits
    assert not decided(0.05, **rules).waits  # nothing is in service
    assert not decided(0.05, 0.04, rollout=rollout).waits


@pytest.mark.parametrize(
    ("said", "generation", "verdict", "ends"),
    [
        ("approved", 3, "promote", "; approved by ann (go)"),
        ("refused", 3, "refuse", "; refused by ann (go)"),
        ("late", 3, "refuse", "; not approved in time by ann (go)"),
        ("approved", 4, "refuse", "; approved by ann (go), but what is in service changed since: run the flow again"),
    ],
)
def test_only_what_was_approved_in_time_and_against_the_same_bundle_goes_on(said, generation, verdict, ends):
    approval = Approval(state=said, by="ann", comment="go")
    after = follow_approval(WON, approval, SimpleNamespace(generation=generation))
    assert (after.verdict, after.waits, after.reason) == (verdict, False, f"it is better{ends}")
    assert after.served == ("blend" if verdict == "promote" else None)


def test_what_a_run_waits_with_is_there_for_the_next_process_until_it_is_dropped(tmp_path):
    layout = Layout(tmp_path, "shop")
    assert list_waiting(layout) == []
    for one in (waiting(2), waiting(1)):
        keep_waiting(layout, one)
    assert read_waiting(layout, "01ab") == waiting(1)
    assert [one.run for one in list_waiting(layout)] == ["calm-owl-1", "calm-owl-2"]
    assert folders_waiting(layout) == {layout.root / "refits/again", layout.root / "candidates/new"}
    (layout.approvals / "03ab.json").write_text("{}")  # of another version of the code
    assert (len(list_waiting(layout)), read_waiting(layout, "03ab")) == (2, None)
    drop_waiting(layout, "01ab")
    assert read_waiting(layout, "01ab") is None


def test_a_run_is_found_by_its_name_or_its_id_and_the_only_one_without(tmp_path):
    layout = Layout(tmp_path, "shop")
    with pytest.raises(NothingWaits, match="run=not named, waiting: none"):
        find_waiting(layout)
    keep_waiting(layout, waiting(1))
    assert find_waiting(layout).run == "calm-owl-1"
    keep_waiting(layout, waiting(2))
    assert find_waiting(layout, "calm-owl-2").run == find_waiting(layout, "02").run == "calm-owl-2"
    for unclear in ("", "0", "calm"):
        with pytest.raises(NothingWaits, match="waiting: calm-owl-1, calm-owl-2"):
            find_waiting(layout, unclear)


def test_what_waits_is_not_pruned(tmp_path):
    layout = Layout(tmp_path, "shop")
    folders = [layout.refit_bundle(f"{number}") for number in range(KEPT_RESULTS + 2)]
    for age, folder in enumerate(reversed(folders)):
        folder.mkdir(parents=True)
        os.utime(folder, (1e9 - age, 1e9 - age))
    keep_waiting(layout, waiting(bundle="refits/0"))
    prune(layout, kept=1)
    assert {folder.name for folder in folders if folder.exists()} == {"0", folders[-1].name}
