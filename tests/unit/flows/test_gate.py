"""The gate lets a candidate through only where it is not worse on the same events."""

import pytest

from flows.gate import decide
from recommender.settings import GateSettings


def judge(candidate, champion=None, popularity=None, **settings):
    return decide(
        GateSettings(**settings),
        metric="ndcg_at_10",
        candidate=candidate,
        champion=champion,
        popularity=popularity,
    )


def test_the_first_bundle_that_beats_popularity_is_promoted():
    assert judge(0.05, popularity=0.02).promote


@pytest.mark.parametrize("candidate", [0.02, 0.01])
def test_a_candidate_that_does_not_beat_popularity_is_kept_out(candidate):
    decision = judge(candidate, popularity=0.02)
    assert not decision.promote
    assert "does not beat popularity's 0.0200" in decision.reason


def test_popularity_may_be_left_out_of_the_gate():
    assert judge(0.01, popularity=0.02, beat_popularity=False).promote


def test_a_worse_candidate_leaves_the_bundle_in_service():
    decision = judge(0.049, champion=0.050, popularity=0.02)
    assert not decision.promote
    assert decision.champion == 0.050
    assert "ndcg_at_10 0.0490 is below 0.0500" in decision.reason


def test_an_equal_candidate_replaces():
    assert judge(0.05, champion=0.05, popularity=0.02).promote


def test_the_tolerance_is_a_share_of_the_champions_figure():
    assert judge(0.046, champion=0.050, popularity=0.02, tolerance=0.1).promote
    assert not judge(0.044, champion=0.050, popularity=0.02, tolerance=0.1).promote
