"""The edge: where settings meet the environment of this process and of those it starts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from core.logs.lines import JsonLines
from core.settings.loading import VARIABLE_PREFIX, load_settings
from core.settings.platform import PagesName, PartName, PlatformSettings
from core.settings.tree import Settings

# No telemetry, and no model hub.
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "BENTOML_DO_NOT_TRACK": "True",
    "GX_ANALYTICS_ENABLED": "false",
    "FEAST_USAGE": "False",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
# OpenTelemetry's default. Prefect cannot be imported where a format is named whose package is not there, as that of b3.
_PROPAGATORS = {"OTEL_PROPAGATORS": "tracecontext,baggage"}
# Threads that wait for each other by spinning collapse as soon as another process wants their core.
POLITE = {"OMP_WAIT_POLICY": "PASSIVE"}
# Prefect's own way to change its logging: where it starts, and where it writes tracebacks of its own.
_JSON_LINES = {
    "PREFECT_LOGGING_FORMATTERS_JSON_CLASS": f"{JsonLines.__module__}.{JsonLines.__qualname__}",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json",
    "PREFECT_LOGGING_HANDLERS_DEBUG_FORMATTER": "json",
    "PREFECT_LOGGING_COLORS": "false",
}
# The parts talk to each other on one host, and to nobody else: a proxy of the environment is for other programs.
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_NO_PROXY = ("NO_PROXY", "no_proxy")
_LOCAL = ("127.0.0.1", "localhost")
# How often a run says that it goes on; Prefect's own default, named as a work pool's automation counts on it.
HEARTBEAT_S = 180
_DAY_S = 24 * 3600
_EVENT_DAYS = 7  # Prefect's own default; each run has some hundred events


def current_settings(variables: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process, from its environment."""
    return load_settings(variables=os.environ if variables is None else variables)


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment of every process of the platform: the settings, homes below the work folder, telemetry off.

    No part asks a proxy for another part; what the environment names in NO_PROXY already stays there.
    """
    platform = settings.platform
    return {
        **{name: value for name, value in os.environ.items() if not _breaks_clients(name, value)},
        **dict.fromkeys(_NO_PROXY, _no_proxy(_hosts(platform))),
        **run_environment(settings),
        **home_variables(settings.work_dir.absolute()),
        **_variables("PLATFORM", {f"{part}_page": platform.link_to(part) for part in get_args(PagesName)}),
        "PREFECT_API_URL": f"{platform.url_of('prefect')}/api",
        "PREFECT_SERVER_API_HOST": platform.host_of("prefect"),
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(_own_origins(platform)),
        "PREFECT_SERVER_API_PORT": str(platform.prefect_port),
        **_retention(platform.history_days),
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_CLI_COLORS": "false",
        "PYTHONUNBUFFERED": "1",
    }


def run_environment(settings: Settings) -> dict[str, str]:
    """What a process that runs a flow has to know, whichever Prefect server it belongs to: the settings, where models
    and results lie, telemetry off.
    """
    work_dir = settings.work_dir.absolute()
    homes = home_variables(work_dir)
    return {
        **QUIET,
        **POLITE,
        **_PROPAGATORS,
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
        f"{VARIABLE_PREFIX}SHOP": settings.shop,
        f"{VARIABLE_PREFIX}WORK_DIR": str(work_dir),
        **_variables("PLATFORM", settings.platform.model_dump(mode="json", exclude={"tracing"})),
        **_variables("PLATFORM__TRACING", settings.platform.tracing.model_dump(mode="json")),
        **_variables("FEATURE_STORE", settings.feature_store.model_dump(mode="json")),
        **_variables("SERVING", _as_json(settings.serving)),
        **_variables("SEARCH", _as_json(settings.search)),
        **_variables("LOOP", _as_json(settings.loop)),
        **_variables("LOGS", settings.logs.model_dump(mode="json")),
        **(_JSON_LINES if settings.logs.format == "json" else {}),
        **{name: homes[name] for name in ("PREFECT_LOCAL_STORAGE_PATH", "BENTOML_HOME")},
    }


def enter_environment(settings: Settings) -> dict[str, str]:
    """Make the environment of the platform's processes that of this one too, and return it.

    This process talks to the same server and store as its parts. To be called before any client is made.
    """
    environment = child_environment(settings)
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
    return environment


def home_variables(work_dir: Path) -> dict[str, str]:
    """Where Prefect and BentoML keep their state."""
    return {
        "PREFECT_HOME": str(work_dir / "prefect"),
        "PREFECT_LOCAL_STORAGE_PATH": str(results_folder(work_dir)),
        "BENTOML_HOME": str(work_dir / "bentoml"),
    }


def results_folder(work_dir: Path) -> Path:
    """Where Prefect keeps what steps returned."""
    return work_dir.absolute() / "prefect" / "results"


def _retention(days: int) -> dict[str, str]:
    """Have the Prefect server forget runs that ended so long ago, with their logs and artifacts, and older events."""
    return {
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs,orphans",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(days * _DAY_S),
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"P{min(days, _EVENT_DAYS)}D",
    }


def _hosts(platform: PlatformSettings) -> list[str]:
    return [platform.host, *(platform.host_of(part) for part in get_args(PartName))]


def _own_origins(platform: PlatformSettings) -> list[str]:
    """The pages whose scripts may ask the Prefect server: its own UI, by each name that it is opened by here.

    The server runs flows for whoever asks; by its default any page that somebody visits could.
    """
    port = platform.prefect_port
    names = [platform.url_of("prefect"), *(f"http://{name}:{port}" for name in (platform.host_of("prefect"), *_LOCAL))]
    return list(dict.fromkeys(names))


def _no_proxy(hosts: Sequence[str]) -> str:
    """What both spellings of NO_PROXY name, and the platform's own hosts; `*` stays alone, as it has to."""
    given = [name.strip() for variable in _NO_PROXY for name in os.environ.get(variable, "").split(",")]
    if "*" in given:
        return "*"
    return ",".join(dict.fromkeys(name for name in (*given, *hosts, *_LOCAL) if name))


def _breaks_clients(name: str, value: str) -> bool:
    """Whether no HTTP client can even be made beside this variable: a proxy that is not spoken to by HTTP (SOCKS)."""
    scheme, separator, _ = value.partition("://")
    return name.lower() in _PROXIES and bool(separator) and scheme.lower() not in ("http", "https")


def _variables(group: str, values: Mapping[str, object]) -> dict[str, str]:
    return {f"{VARIABLE_PREFIX}{group}__{name.upper()}": str(value) for name, value in values.items()}


def _as_json(group: BaseModel) -> dict[str, str]:
    """Values that are lists or groups too, as a variable can say them."""
    return {name: json.dumps(value) for name, value in group.model_dump(mode="json").items()}
