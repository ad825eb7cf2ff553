"""`sommelier tune` refuses a wrong space and a foreign server before it starts anything."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cli.main import main
from core.settings.loading import load_settings
from flows.environment import child_environment, current_settings


@pytest.fixture
def foreign_server():
    """The port of a server that says of itself what a Prefect server of another work folder says."""

    class Foreign(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"home": "/somewhere/else/prefect"}).encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Foreign)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_a_wrong_space_is_named_at_once(capsys, tmp_path):
    assert main(["tune", "--set", f"work_dir={tmp_path}", "--set", "search.space.sequence.widht=[32]"]) == 1
    assert "search.space=sequence.widht" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_server_of_another_work_folder_is_not_used(capsys, tmp_path, foreign_server):
    sets = ["--set", f"work_dir={tmp_path}", "--set", f"platform.prefect_port={foreign_server}"]
    assert main(["tune", *sets]) == 1
    assert "/somewhere/else/prefect" in capsys.readouterr().err


def test_method_and_trials_are_short_for_settings(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("flows.platform.tune.run_search", lambda settings, show: seen.append(settings.search))
    assert main(["tune", "--method", "grid", "--trials", "7", "--set", f"work_dir={tmp_path}"]) == 0
    assert (seen[0].method, seen[0].n_trials) == ("grid", 7)


def test_the_parts_of_the_platform_are_told_the_search():
    settings = load_settings(
        overrides=["search.n_trials=7", "search.space.sequence.dropout=[0.2, 0.4]", "search.timeout_s=90"]
    )
    told = {name: value for name, value in child_environment(settings).items() if name.startswith("SOMMELIER_")}
    assert current_settings(told).search == settings.search
