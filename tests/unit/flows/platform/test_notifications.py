"""The automations of a shop are found among however many there are on a server."""

from contextlib import nullcontext
from types import SimpleNamespace

from core.settings.loop import NotificationSettings
from flows.platform import notifications
from flows.platform.notifications import apply_notifications


def test_an_automation_is_changed_and_not_doubled_behind_those_of_many_others(monkeypatch):
    names = [f"other {number}" for number in range(450)] + ["sommelier vineyard: alarms"]
    server = [SimpleNamespace(id=number, name=name) for number, name in enumerate(names)]
    done = []
    client = SimpleNamespace(
        read_automations=lambda limit=None, offset=0: server[offset : offset + min(limit or 200, 200)],
        create_automation=lambda one: done.append(("created", one.name)),
        update_automation=lambda number, one: done.append(("updated", number)),
        delete_automation=lambda number: done.append(("deleted", number)),
    )
    monkeypatch.setattr("prefect.client.orchestration.get_client", lambda **_: nullcontext(client))
    wanted = [SimpleNamespace(name="sommelier vineyard: alarms")]
    monkeypatch.setattr(notifications, "_wanted", lambda *_: wanted)
    apply_notifications("vineyard", NotificationSettings())
    assert done == [("updated", 450)]
    wanted.clear()
    apply_notifications("vineyard", NotificationSettings())
    assert done[1:] == [("deleted", 450)]
