"""What nobody was told of is told by whoever looks next, and again where a block did not answer, but not for ever."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import httpx
import pytest

from core.layout import Layout
from core.logs.timeline import Timeline
from core.settings.tree import Settings
from flows.loop import notices
from flows.loop.events import id_of
from flows.loop.notices import UNTOLD, tell, untold

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=6)
REFUSED = "sommelier.gate.refused"


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A shop with one block; the events that were sent, with their ids, and what became of each."""
    layout = Layout(tmp_path, "shop")
    found = SimpleNamespace(
        layout=layout,
        timeline=Timeline(layout.timeline),
        sent=[],
        fates={},
        is_away=False,
        blocks=["slack-webhook/ops"],
    )

    def emit(shop, name, says, key, payload=None):
        if not found.is_away:
            found.sent.append((id_of(shop, name, key), says, payload))
        return not found.is_away

    monkeypatch.setattr(notices, "emit", emit)
    monkeypatch.setattr(notices, "is_in_run", lambda: True)
    monkeypatch.setattr(notices, "find_fate", lambda event: found.fates[event])
    settings = lambda: Settings(loop={"notifications": {"blocks": found.blocks}})  # noqa: E731
    monkeypatch.setattr(notices, "current_settings", settings)
    return found


def refuse(shop, says="It is worse."):
    return shop.timeline.add("gate", "digest", "refused", says, details={"metric": "ndcg", **untold(REFUSED)})


def tell_at(shop, moment, fate=None):
    """Look at a moment, when the last event has met its fate; how many events were sent by then."""
    if fate is not None:
        shop.fates[shop.sent[-1][0]] = fate
    tell(shop.layout, moment)
    return len(shop.sent)


def test_what_was_told_is_not_told_again_and_the_entry_says_so(shop):
    entry = refuse(shop)
    assert tell_at(shop, NOW) == 1
    assert shop.sent[0][1:] == ("It is worse.", {"metric": "ndcg", "entry": entry.id})
    assert tell_at(shop, NOW + timedelta(seconds=1)) == 1  # no block can have answered yet
    assert tell_at(shop, LATER, "told") == 1
    assert shop.timeline.find(entry.id).details[UNTOLD] is None
    assert shop.timeline.find(entry.id).until == entry.until


def test_what_a_killed_process_did_not_send_the_next_look_sends_as_the_same_event(shop, monkeypatch):
    refuse(shop)
    with monkeypatch.context() as killed:
        killed.setattr(Timeline, "note", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            tell(shop.layout, NOW)
    assert tell_at(shop, NOW) == 2
    assert shop.sent[0] == shop.sent[1]
    assert tell_at(shop, NOW) == 2


def test_while_no_server_is_there_everything_waits(shop):
    refuse(shop, "One.")
    refuse(shop, "Two.")
    shop.is_away = True
    assert tell_at(shop, NOW) == 0
    shop.is_away = False
    assert tell_at(shop, NOW) == 2
    assert [says for _, says, _ in shop.sent] == ["One.", "Two."]


@pytest.mark.parametrize("fate", ["lost", "failed", "taken"])
def test_what_reached_nobody_is_told_again_by_another_event_until_a_block_answers(shop, fate):
    entry = refuse(shop)
    tell_at(shop, NOW)
    assert tell_at(shop, LATER, fate) == 2
    assert shop.sent[0][0] != shop.sent[1][0]
    assert tell_at(shop, LATER + timedelta(minutes=6), "told") == 2
    assert shop.timeline.find(entry.id).details[UNTOLD] is None


def test_where_no_block_is_named_the_server_alone_is_told(shop):
    shop.blocks = []
    refuse(shop)
    tell_at(shop, NOW)
    assert tell_at(shop, LATER, "taken") == 1
    assert shop.timeline.detailed(UNTOLD) == []


def test_a_block_that_never_answers_is_given_up_and_the_log_says_so(shop, caplog):
    entry, moment = refuse(shop), NOW
    tell_at(shop, moment)
    for _ in range(10):
        moment += timedelta(minutes=30)
        tell_at(shop, moment, "failed")
    assert len(shop.sent) == 5
    assert f"Whether somebody was told of entry {entry.id} is not known" in caplog.text
    assert shop.timeline.detailed(UNTOLD) == []


def test_what_the_server_has_forgotten_by_the_next_look_is_not_told_again(shop):
    refuse(shop)
    tell_at(shop, NOW)
    assert tell_at(shop, NOW + timedelta(days=9), "lost") == 1
    assert shop.timeline.detailed(UNTOLD) == []


@pytest.mark.parametrize("during", ["emit", "find_fate"])
def test_what_happens_while_an_entry_is_told_is_told_next(shop, monkeypatch, during):
    """The one who asks the server knows of the older notice alone."""
    entry = shop.timeline.add("gate", "digest", "waiting", "Better.", details=untold("sommelier.gate.waiting"))
    if during == "find_fate":
        tell_at(shop, NOW)
        shop.fates[shop.sent[0][0]] = "told"
    ask = getattr(notices, during)

    def while_it_is_answered(*given):
        shop.timeline.settle(entry, "refused", "Refused by bob.", details=untold(REFUSED), only=["waiting"])
        return ask(*given)

    with monkeypatch.context() as answered:
        answered.setattr(notices, during, while_it_is_answered)
        tell(shop.layout, LATER)
    tell(shop.layout, LATER)
    assert [says for _, says, _ in shop.sent] == ["Better.", "Refused by bob."]
    assert tell_at(shop, LATER + timedelta(minutes=6), "told") == 2
    assert shop.timeline.detailed(UNTOLD) == []


@pytest.mark.parametrize(("state", "event"), [("on", "raised"), ("cleared", "cleared")])
def test_what_an_earlier_version_left_untold_of_an_alarm_is_told(shop, state, event):
    entry = shop.timeline.add("alarm", "data.price", state, "It moved.", details={UNTOLD: True}, at=NOW)
    says = "It moved." if state == "on" else "Over, on since 2026-03-01 00:00 UTC: It moved."
    assert tell_at(shop, NOW) == 1
    assert shop.sent[0][:2] == (id_of("shop", f"sommelier.alarm.{event}", f"{entry.id}/{entry.at}/0"), says)
    assert tell_at(shop, LATER, "told") == 1
    assert shop.timeline.detailed(UNTOLD) == []


def test_a_server_that_does_not_answer_is_asked_again(shop, monkeypatch):
    refuse(shop)
    tell_at(shop, NOW)
    with monkeypatch.context() as away:
        away.setattr(notices, "find_fate", lambda _: (_ for _ in ()).throw(httpx.ConnectError("no server")))
        assert tell_at(shop, LATER) == 1
    assert tell_at(shop, LATER, "failed") == 2
