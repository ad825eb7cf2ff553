"""A look on the time line: an alarm is raised once, counted while on, and over after it was missed for a while."""

import pytest

from core.alarms import Alarm
from core.logs.timeline import Timeline
from flows.loop.looks import record_look

CLEAR_LOOKS = 2


def alarm(signal="data.price", **more):
    given = {"signal": signal, "family": signal.partition(".")[0], "window_days": 7, "p_value": 0.001}
    times = {"since": "2026-01-01T00:00:00+00:00", "until": "2026-01-08T00:00:00+00:00", "says": f"{signal} moved."}
    return Alarm.model_validate({**given, **times, **more})


@pytest.fixture
def timeline(tmp_path):
    return Timeline(tmp_path / "timeline.sqlite")


def look(timeline, *alarms):
    return record_look(timeline, alarms, CLEAR_LOOKS)


def test_the_same_alarm_in_ten_looks_is_one_entry_that_is_raised_once(timeline):
    raised = [len(look(timeline, alarm(says=f"look {number}")).raised) for number in range(10)]
    [entry] = timeline.read()
    assert raised == [1] + [0] * 9
    assert (entry.count, entry.state, entry.says) == (10, "on", "look 9")


def test_an_alarm_that_is_on_for_longer_than_a_look_sees_keeps_its_begin(timeline):
    times = [("2026-01-05", "2026-01-08"), ("2026-01-04", "2026-01-20"), ("2026-01-23", "2026-02-20")]
    since = []
    for begin, end in [*times, ("2026-02-20", "2026-02-27")]:
        look(timeline, alarm(since=f"{begin}T00:00:00+00:00", until=f"{end}T00:00:00+00:00"))
        since.append(timeline.read()[0].details["alarm"]["since"][:10])
    # What a look sees better counts; 28 days are as far as it sees.
    assert since == ["2026-01-05", "2026-01-04", "2026-01-04", "2026-02-20"]


def test_the_strongest_of_one_signal_counts_and_the_order_stays(timeline):
    found = look(timeline, alarm("quality.ndcg", window_days=28), alarm(), alarm("quality.ndcg", window_days=1))
    assert [(one.alarm.signal, one.alarm.window_days) for one in found.on] == [("quality.ndcg", 28), ("data.price", 7)]


def test_an_alarm_that_comes_and_goes_is_on_all_the_time(timeline):
    looks = [look(timeline, *([alarm()] if number % 2 == 0 else [])) for number in range(6)]
    assert [len(one.raised) for one in looks] == [1, 0, 0, 0, 0, 0]
    assert [[on.is_seen for on in one.on] for one in looks] == [[True], [False]] * 3
    assert len(timeline.read()) == 1


def test_an_alarm_is_over_once_it_was_missed_often_enough_and_raised_anew_after_that(timeline):
    look(timeline, alarm())
    assert not look(timeline).cleared
    [over] = look(timeline).cleared
    assert (over.subject, over.state) == ("data.price", "cleared")
    # One event tells whoever was not reached while it was on.
    assert over.details["untold"]["says"] == f"Over, on since {over.at[:10]} {over.at[11:16]} UTC: data.price moved."
    assert look(timeline).on == ()
    assert [entry.subject for entry in look(timeline, alarm()).raised] == ["data.price"]
    assert [entry.state for entry in timeline.read()] == ["cleared", "on"]


def test_how_an_alarm_was_is_known_while_it_is_not_seen(timeline):
    look(timeline, alarm(broken=True, segment="country=DE"))
    [missed] = look(timeline).on
    assert (missed.alarm, missed.looks, missed.is_seen) == (alarm(broken=True, segment="country=DE"), 1, False)


def test_two_looks_at_once_raise_an_alarm_once_and_an_alarm_that_another_look_ended_is_raised_anew(
    timeline, monkeypatch
):
    other = Timeline(timeline.path)
    lasting = timeline.lasting

    def while_another_looks(*alarms):
        """The other look is made right after this one has read which alarms are on."""

        def read(kind):
            found = lasting(kind)
            look(other, *alarms)
            return found

        monkeypatch.setattr(timeline, "lasting", read)

    while_another_looks(alarm())
    look(timeline, alarm())
    assert [(entry.state, entry.subject) for entry in other.read()] == [("on", "data.price")]
    look(other)
    while_another_looks()
    found = look(timeline, alarm())
    assert [(one.alarm.signal, one.is_seen) for one in found.on] == [("data.price", True)]
    assert [entry.state for entry in other.read()] == ["cleared", "on"]
