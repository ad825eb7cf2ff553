"""Prefect's server tells what happens, by a block that the settings name: here a webhook of a server of this test."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock, MattermostWebhook
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Crashed, Failed

from core.errors import SettingsError
from core.settings.loop import NotificationSettings
from core.settings.tree import Recipe
from flows.loop.events import emit, find_fate, id_of
from flows.platform.deployments import build_deployments
from flows.platform.notifications import apply_notifications

BLOCK = "custom-webhook/told"
SETTINGS = NotificationSettings(blocks=[BLOCK])
TOPICS = ["alarms", "what is in service", "runs"]


@pytest.fixture(scope="module")
def told():
    """What was posted to the webhook."""
    received = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    received.append(f"http://127.0.0.1:{server.server_port}/")
    yield received
    server.shutdown()


@pytest.fixture(scope="module")
def client(prefect_server, told):
    with temporary_settings({PREFECT_API_URL: prefect_server}), get_client(sync_client=True) as made:
        address = told.pop()
        block = CustomWebhookNotificationBlock(name="told", url=address, json_data={"text": "{{subject}}: {{body}}"})
        block.save("told", overwrite=True)
        yield made


@pytest.fixture
def on_server(prefect_server, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)


def names(client, shop):
    return sorted(one.name for one in client.read_automations() if one.name.startswith(f"sommelier {shop}: "))


def wait_for(told, words, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while not any(words in one for one in told):
        assert time.monotonic() < deadline, told
        time.sleep(0.1)


def test_they_are_applied_again_without_another_and_taken_away_with_their_block(client):
    for _ in range(2):
        applied = apply_notifications("applied", SETTINGS)
        assert sorted(applied) == names(client, "applied")
    assert applied == [f"sommelier applied: {topic} to {BLOCK}" for topic in TOPICS]
    apply_notifications("applied-too", SETTINGS)
    assert apply_notifications("applied", NotificationSettings()) == names(client, "applied") == []
    assert len(names(client, "applied-too")) == len(TOPICS)


def test_a_block_that_is_not_there_is_named(client):
    with pytest.raises(SettingsError, match=r"loop\.notifications\.blocks=slack-webhook/nowhere"):
        apply_notifications("applied", NotificationSettings(blocks=["slack-webhook/nowhere"]))


def test_an_alarm_is_told_of_its_shop_alone(client, told, on_server):
    apply_notifications("vineyard", SETTINGS)
    emit("beside", "sommelier.alarm.raised", "Nobody is told this.", "1")
    emit("vineyard", "sommelier.alarm.raised", "Prices are missing.", "1")
    wait_for(told, "vineyard: alarms: Prices are missing.")
    assert not any("Nobody" in one for one in told)


def fate_of(shop):
    return find_fate(id_of(shop, "sommelier.promoted", "1"))


def test_whether_a_block_has_answered_is_known(client, on_server):
    away = MattermostWebhook(hostname="127.0.0.1", port=9, secure=False, token="a" * 24)
    away.save("away", overwrite=True)
    apply_notifications("told", SETTINGS)
    apply_notifications("failed", NotificationSettings(blocks=["mattermost-webhook/away"]))
    shops = ("told", "failed", "taken")
    assert fate_of("lost") == "lost"
    for shop in shops:
        while not emit(shop, "sommelier.promoted", "A bundle is in service.", "1"):
            time.sleep(0.2)  # the server is busy
    deadline = time.monotonic() + 60
    while (found := tuple(map(fate_of, shops))) != shops:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def test_that_a_deployment_fails_is_told_once_in_a_while(client, told):
    apply_notifications("vineyard", SETTINGS)
    built = {one.flow_name: one for one in build_deployments("vineyard", Recipe())}
    for flow, state in (("refresh-features", Failed(message="no room")), ("monitor", Crashed(message="killed"))):
        deployment = built[flow].apply()
        for _ in range(3):
            run = client.create_flow_run_from_deployment(deployment)
            client.set_flow_run_state(run.id, state, force=True)
    wait_for(told, "monitor, run")
    wait_for(told, "Failed. no room")
    time.sleep(2)
    assert sum("refresh-features, run" in one for one in told) == 1
