"""Grafana boards and Prometheus rules ask for figures that are there, in words that Prometheus reads."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry

from flows.reporting.gauges import FAMILIES
from serving.http.metrics import Metrics

ROOT = Path(__file__).parents[2]
BOARDS = sorted((ROOT / "deployments" / "grafana" / "dashboards").glob("*.json"))
PROMETHEUS = ROOT / "deployments" / "prometheus"
RULES = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed")


def _known() -> dict[str, set[str]]:
    """Each series that the service shows, with the labels that it may have."""
    registry = CollectorRegistry()
    service = Metrics(registry)
    known = {"up": set()}
    for own in vars(service).values():
        for name in registry._get_names(own) if hasattr(own, "_labelnames") else ():
            known[name] = set(own._labelnames) | ({"le"} if name.endswith("_bucket") else set())
    return known | {name: set(labels) for name, (_, labels) in FAMILIES.items()}


KNOWN = _known()


def _selectors(expression: str) -> list[Any]:
    """Each choice of series in an expression; Grafana's variables read as a value."""
    plain = expression.replace("$instance", "any")
    found = []

    def keep(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        if isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)
        return True

    promql_parser.walk(promql_parser.parse(plain), keep)
    return found


def _check(expression: str) -> None:
    selectors = _selectors(expression)
    assert selectors, f"{expression} reads nothing"
    for selector in selectors:
        assert selector.name in KNOWN, f"{expression} asks for {selector.name}, which nothing shows"
        asked = {matcher.name for matcher in selector.matchers.matchers}
        assert asked <= KNOWN[selector.name] | {"job", "instance"}, f"{expression}: {asked}"


def _panels(board: Path) -> list[dict[str, Any]]:
    return list(json.loads(board.read_text())["panels"])


def test_there_is_a_board_for_each_family():
    assert [board.stem for board in BOARDS] == ["business", "data", "model", "service"]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_every_panel_asks_for_what_is_there(board):
    for panel in _panels(board):
        for target in panel["targets"]:
            _check(target["expr"])


def test_what_fails_at_each_check_of_the_model_store_is_shown_and_told():
    shown = [target["expr"] for board in BOARDS for panel in _panels(board) for target in panel["targets"]]
    for expressions in (shown, [rule["expr"] for rule in ALERTS]):
        assert "sommelier_chores_failed_total" in {one.name for each in expressions for one in _selectors(each)}


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_a_board_is_whole(board):
    """What Grafana asks of a board: ids and places of its own for each panel, a source that is chosen, a known kind."""
    body = json.loads(board.read_text())
    assert body["uid"] == f"sommelier-{board.stem}"
    panels = body["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        assert panel["type"] in {"timeseries", "stat", "table"}
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, f"{panel['title']} lies on another panel"
        taken |= cells


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_asks_for_what_is_there_and_is_explained(rule):
    _check(rule["expr"])
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    explained = (ROOT / "docs" / "dashboards.md").read_text()
    assert re.search(rf"^\| `{rule['alert']}` \|", explained, re.MULTILINE), "docs/dashboards.md says nothing of it"


def test_no_alert_is_explained_that_is_gone():
    explained = re.findall(r"^\| `([A-Z]\w+)` \|", (ROOT / "docs" / "dashboards.md").read_text(), re.MULTILINE)
    assert sorted(explained) == sorted(rule["alert"] for rule in ALERTS)


@needs_promtool
def test_prometheus_takes_the_configuration():
    done = subprocess.run(
        ["promtool", "check", "config", PROMETHEUS / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("name", ["alert_cases.yml", "late_alert_cases.yml"])
def test_alerts_fire_when_they_should_and_not_before(name):
    cases = Path(__file__).parent / name
    done = subprocess.run(["promtool", "test", "rules", cases], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_a_real_prometheus_scrapes_what_flows_left_and_fires(tmp_path):
    """A page of figures is scraped by the configuration as it stands, but for address and times; an alert fires."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"# TYPE sommelier_bundle_fallback gauge\nsommelier_bundle_fallback 1\n")

        def log_message(self, *args: Any) -> None:
            pass

    page = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    Thread(target=page.serve_forever, daemon=True).start()
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{page.server_port}"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    (tmp_path / "alerts.yml").write_text((PROMETHEUS / "alerts.yml").read_text().replace("for: 5m", "for: 1s"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    running = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address={address}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        firing: set[str] = set()
        until = time.monotonic() + 120
        while "BundleFallsBack" not in firing and time.monotonic() < until:
            time.sleep(0.2)
            try:
                with urllib.request.urlopen(f"http://{address}/api/v1/alerts", timeout=5) as answer:
                    alerts = json.load(answer)["data"]["alerts"]
            except OSError:
                continue  # it has not begun yet
            firing = {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
        assert "BundleFallsBack" in firing
    finally:
        running.terminate()
        running.wait(20)
        page.shutdown()
        page.server_close()
