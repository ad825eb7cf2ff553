"""A canary from the gate's word to its end, with a real record of experiments, model store and prediction log."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from core.experiments import CHAMPION, Experiment, ExperimentError, Variant, read_experiments, start, stop
from core.layout import Layout
from core.logs.events import EventLog, Interaction
from core.logs.predictions import Prediction
from core.logs.timeline import Timeline
from core.promotions import read_standing
from core.settings.loop import CanarySettings, RetrainingSettings
from core.settings.monitoring import ExperimentSettings
from core.settings.tree import Settings
from flows.loop import canary as module
from flows.loop import changes, notices
from flows.loop.canary import begin_canary, follow_newest
from flows.loop.evidence import gather_evidence
from flows.promotion.champion import is_withdrawn
from flows.promotion.experiments import find_place, pin_version
from flows.promotion.model_store import forbid_bundles, promote, roll_back
from serving.experiments.plan import point_of
from tests.unit.flows.promotion.written_bundle import write_bundle
from tests.unit.monitoring.online.test_shown import write

RULES = CanarySettings(steps=(0.3, 0.5), min_users=100, max_loss=0.5)
FIGURES = ExperimentSettings(clicks=("click",), click_window_s=60, observe_s=60)
LATER = timedelta(hours=1)


class Killed(BaseException):
    pass


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A shop with a bundle in service, a candidate that was fitted again, and the gate's word on it."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    sent = []
    monkeypatch.setattr(notices, "emit", lambda shop, name, says, key, payload=None: sent.append(name) or True)
    monkeypatch.setattr(module, "current_settings", lambda: Settings(loop={"canary": RULES.model_dump()}))
    layout = Layout(tmp_path, "shop")
    model, timeline = layout.model_name, Timeline(layout.timeline)
    promote(write_bundle(layout.bundle("old"), "old-digest", shop="shop"), model, {"digest": "old-digest"})
    changes.record_changes(layout)
    bundle = write_bundle(layout.refit_bundle("new"), "new-digest", shop="shop", judged="judged-digest")
    gate = timeline.add("gate", "judged-digest", "canary", "It is better.", details={"metric": "m", "candidate": 0.25})
    begin_canary(layout, bundle, gate, read_standing(model).generation)
    return SimpleNamespace(layout=layout, timeline=timeline, model=model, bundle=bundle, gate=gate, sent=sent)


def canary(shop) -> Experiment:
    found = read_experiments(shop.model).followed
    assert found is not None
    return found


def show(shop, hits, number=800, after=timedelta(), fails=lambda n, variant: False):
    """Have users answered from now on as the service would, and click where `hits` says so of user and variant; no list
    is made where `fails` says so.
    """
    one, moment = canary(shop), datetime.now(UTC) + after
    answers, clicks = [], []
    for n in range(number):
        user = f"u{n}"
        variant = "candidate" if point_of(one.name, user) < one.variants[0].share else CHAMPION
        recommendation = f"{moment.timestamp()}-{n}"
        failed = fails(n, variant)
        answers.append(
            Prediction(
                recommendation_id=recommendation,
                at=moment.isoformat(),
                endpoint="/v1/recommend",
                model="m",
                items=() if failed else ("i0",),
                scores=() if failed else (1.0,),
                role="failed" if failed else "shown",
                user_id=user,
                unit="user",
                experiment=one.name,
                variant=variant,
                took_ms=2.0,
            )
        )
        if hits(n, variant) and not failed:
            clicks.append(Interaction(f"e{recommendation}", user, "i0", "click", moment, None, recommendation))
    write(shop.layout.predictions, *answers)
    EventLog(shop.layout.events).append(clicks)


def follow(shop, later=LATER, rules=RULES):
    decided = follow_newest(shop.layout, rules, FIGURES, datetime.now(UTC) + later)
    return None if decided is None else decided.action


def told(shop):
    return [(entry.state, entry.cause) for entry in shop.timeline.read(["canary"])]


def equal(n, variant):
    return n % 2 == 0


def test_the_gates_word_starts_it_once_and_the_time_line_says_why(shop):
    assert (canary(shop).name, canary(shop).variants[0].share, canary(shop).generation) == ("canary-new-digest", 0.3, 1)
    assert told(shop) == [("started", shop.gate.id)]
    begin_canary(shop.layout, shop.bundle, shop.gate, 1)
    assert (len(read_experiments(shop.model).experiments), told(shop)) == (1, [("started", shop.gate.id)])
    assert shop.sent.count("sommelier.canary.started") == 1


def test_it_grows_with_those_it_has_and_is_promoted(shop):
    assert follow(shop) == "hold"
    show(shop, equal)
    assert follow(shop) == "grow"
    assert (canary(shop).variants[0].share, canary(shop).name) == (0.5, "canary-new-digest")
    # What was shown before does not count for the new share.
    assert follow(shop) == "hold"
    show(shop, equal)
    assert follow(shop) == "promote"
    served = read_standing(shop.model).in_service
    assert (served.digest, served.labels["metric"], served.labels["value"]) == ("new-digest", "m", "0.2500")
    assert (canary(shop).outcome, canary(shop).runs) == ("promoted", False)
    entries = shop.timeline.read(["canary"])
    assert told(shop) == [("started", shop.gate.id), ("grown", entries[0].id), ("promoted", entries[1].id)]
    assert shop.timeline.newest("promotion").cause == entries[2].id
    assert follow(shop) is None
    assert len(read_standing(shop.model).changes) == 2


def test_one_whose_first_answers_are_gone_from_the_log_waits_and_says_why(shop):
    show(shop, lambda n, variant: variant == CHAMPION)  # it would be withdrawn as worse
    gone = datetime.now(UTC) + timedelta(seconds=1)
    (shop.layout.predictions / "lost.json").write_text(json.dumps({"until": gone.isoformat()}))
    decided = follow_newest(shop.layout, RULES, FIGURES, datetime.now(UTC) + LATER)
    assert (decided.action, decided.rule) == ("hold", "untested")
    assert "are gone from the prediction log" in decided.reason
    assert "serving.predictions.experiments_max_bytes" in decided.reason


def test_what_is_worse_is_withdrawn_and_neither_judged_nor_learned_again(shop, tmp_path):
    show(shop, lambda n, variant: variant == CHAMPION)
    assert follow(shop) == "withdraw"
    assert (canary(shop).outcome, canary(shop).runs) == ("withdrawn", False)
    assert shop.sent[-1] == "sommelier.canary.withdrawn"
    standing = read_standing(shop.model)
    assert standing.in_service.digest == "old-digest"
    assert [is_withdrawn(digest, standing) for digest in ("new-digest", "judged-digest", "other")] == [
        True,
        True,
        False,
    ]
    assert follow(shop) is None


@pytest.mark.parametrize("every", [1, 5])
def test_one_that_fails_on_some_requests_is_withdrawn_whatever_its_answers_bring(shop, every):
    show(shop, lambda n, variant: variant != CHAMPION, fails=lambda n, variant: variant != CHAMPION and n % every == 0)
    decided = follow_newest(shop.layout, RULES, FIGURES, datetime.now(UTC) + LATER)
    assert (decided.action, decided.rule, canary(shop).outcome) == ("withdraw", "failing", "withdrawn")
    assert shop.timeline.newest("canary").says.startswith("canary-new-digest is withdrawn: The canary fails: at least ")
    assert is_withdrawn("new-digest", read_standing(shop.model))


def test_failures_that_everybody_has_alike_are_not_the_canarys(shop):
    show(shop, equal, fails=lambda n, variant: n % 10 == 3)
    assert follow(shop) == "grow"


@pytest.mark.parametrize("change", ["promotion", "rollback"])
def test_another_bundle_in_service_ends_it_without_a_word_on_the_candidate(shop, change):
    if change == "promotion":
        other = write_bundle(shop.layout.bundle("other"), "other-digest", shop="shop")
        promote(other, shop.model, {"digest": "other-digest"})
    else:
        promote(shop.layout.bundle("old"), shop.model, {"digest": "old-digest"})
        roll_back(shop.model, read_standing(shop.model).changes[0].version)
    show(shop, equal)
    assert follow(shop) == "withdraw"
    assert canary(shop).outcome == "overtaken"
    assert not is_withdrawn("new-digest", read_standing(shop.model))


def test_what_goes_into_service_between_figures_and_promotion_wins(shop, monkeypatch):
    show(shop, equal)
    follow(shop)
    show(shop, equal)
    decide = module.decide_rollout

    def late(seen, rules):
        other = write_bundle(shop.layout.bundle("other"), "other-digest", shop="shop")
        promote(other, shop.model, {"digest": "other-digest"})
        return decide(seen, rules)

    monkeypatch.setattr(module, "decide_rollout", late)
    assert follow(shop) == "withdraw"
    assert read_standing(shop.model).in_service.digest == "other-digest"
    assert canary(shop).outcome == "overtaken"


def meanwhile(shop, monkeypatch, change):
    """Have something happen while the figures are read by which the canary is promoted."""
    show(shop, equal)
    follow(shop)
    show(shop, equal)
    decide = module.decide_rollout

    def late(seen, rules):
        change()
        return decide(seen, rules)

    monkeypatch.setattr(module, "decide_rollout", late)


def test_one_that_is_stopped_by_hand_while_figures_are_read_is_not_promoted(shop, monkeypatch):
    meanwhile(shop, monkeypatch, lambda: stop(shop.model, canary(shop).name, "it shows empty lists"))
    with pytest.raises(ExperimentError, match="generation=3"):
        follow(shop)
    assert read_standing(shop.model).in_service.digest == "old-digest"
    assert canary(shop).stop_reason == "it shows empty lists"


def test_a_version_that_is_pinned_while_figures_are_read_stays(shop, monkeypatch):
    meanwhile(shop, monkeypatch, lambda: pin_version(shop.layout, ""))
    with pytest.raises(ExperimentError, match="generation=3"):
        follow(shop)
    assert read_standing(shop.model).in_service.digest == "old-digest"


def forbid(shop):
    forbid_bundles(shop.model, {"new-digest"})


def test_one_that_learned_from_somebody_who_was_forgotten_ends_without_a_word_on_it(shop):
    show(shop, equal)
    forbid(shop)
    assert follow(shop) == "withdraw"
    assert (canary(shop).outcome, canary(shop).stop_reason[:29]) == ("overtaken", "It learned from somebody who ")
    assert not is_withdrawn("new-digest", read_standing(shop.model))


def test_one_that_is_found_to_have_learned_from_somebody_forgotten_meanwhile_is_not_promoted(shop, monkeypatch):
    meanwhile(shop, monkeypatch, lambda: forbid(shop))
    assert follow(shop) == "withdraw"
    assert canary(shop).stop_reason == "It learned from somebody who was forgotten since."
    assert read_standing(shop.model).in_service.digest == "old-digest"


@pytest.mark.parametrize("killed_after", ["grow", "stop", "promote"])
def test_a_run_that_is_killed_is_caught_up_with_by_the_next(shop, monkeypatch, killed_after):
    if killed_after == "promote":
        show(shop, equal)
        follow(shop)
    show(shop, (lambda n, variant: variant == CHAMPION) if killed_after == "stop" else equal)
    real = getattr(module, killed_after)

    def dies(*args, **named):
        real(*args, **named)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(module, killed_after, dies)
        with pytest.raises(Killed):
            follow(shop)
    follow(shop)
    ends = {"grow": ["started", "grown"], "stop": ["started", "withdrawn"], "promote": ["started", "grown", "promoted"]}
    assert [state for state, _ in told(shop)] == ends[killed_after]
    assert canary(shop).outcome == {"grow": None, "stop": "withdrawn", "promote": "promoted"}[killed_after]
    assert len(read_standing(shop.model).changes) == (2 if killed_after == "promote" else 1)


def test_a_damaged_candidate_is_withdrawn(shop):
    (shop.bundle / "content").write_bytes(b"torn")
    assert (follow(shop), canary(shop).outcome) == ("withdraw", "withdrawn")


def test_one_that_is_stopped_by_hand_is_told_and_may_be_tried_again(shop):
    stop(shop.model, canary(shop).name, "a holiday")
    assert follow(shop) is None
    assert [state for state, _ in told(shop)] == ["started", "stopped"]
    assert not is_withdrawn("new-digest", read_standing(shop.model))


def test_switched_off_nothing_is_decided(shop):
    show(shop, equal)
    assert follow(shop, rules=RULES.model_copy(update={"enabled": False})) is None
    assert canary(shop).variants[0].share == 0.3


def test_another_experiment_keeps_it_out_and_the_time_line_says_so(shop):
    stop(shop.model, canary(shop).name)
    variant = Variant(name="v", bundle=find_place(shop.layout, str(shop.bundle)), share=0.5)
    start(
        shop.model, Experiment(name="spring", kind="split", variants=(variant,), started_at="2026-03-01", generation=1)
    )
    assert begin_canary(shop.layout, shop.bundle, shop.gate, 1) is None
    assert told(shop)[-1] == ("kept out", shop.gate.id)
    assert [one.name for one in read_experiments(shop.model).running] == ["spring"]
    assert follow(shop) is None


def test_while_one_runs_nothing_is_learned_and_its_end_counts_as_a_rollback(shop):
    served = SimpleNamespace(data=SimpleNamespace(learned_until_at=datetime(2026, 1, 1, tzinfo=UTC)))

    def evidence():
        return gather_evidence(shop.layout, (), served, None, RetrainingSettings())

    assert evidence().busy.startswith("the canary canary-new-digest answers 30% of the users since")
    show(shop, lambda n, variant: variant == CHAMPION)
    follow(shop)
    found = evidence()
    assert (found.busy, found.canary_withdrawn_at) == ("", datetime.fromisoformat(canary(shop).stopped_at))


def test_the_flow_loads_no_torch():
    code = "import flows.follow_canary, sys; assert not {'torch', 'transformers', 'bentoml'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_nobody_was_told_of_a_canary_the_next_look_tells(shop, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(notices, "emit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        stop(shop.model, canary(shop).name, "It is slow.", outcome="withdrawn")
        with pytest.raises(KeyboardInterrupt):
            follow_newest(shop.layout, RULES, FIGURES)
    assert "sommelier.canary.withdrawn" not in shop.sent
    follow_newest(shop.layout, RULES, FIGURES)
    follow_newest(shop.layout, RULES, FIGURES)
    assert shop.sent.count("sommelier.canary.withdrawn") == 1


def test_the_loss_that_is_allowed_is_of_what_the_difference_is_counted_by(shop):
    """Of users' first lists alone: that nobody clicks later does not make the candidate wait."""
    show(shop, lambda n, variant: n % 5 < 4)
    for minutes in range(3, 20):
        show(shop, lambda n, variant: False, after=timedelta(minutes=minutes))
    rules = RULES.model_copy(update={"max_loss": 0.2})
    assert follow(shop, rules=rules) == "grow"
    assert 0.7 < float(re.search(r"of the hit rate in service \((.*?)\)", canary(shop).growths[-1].reason)[1]) < 0.9
