"""The edge: where settings meet the environment of this process and of those it starts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from recommender.settings import VARIABLE_PREFIX, Settings, load_settings

# Nobody is told that this runs, and no hub is asked for a model.
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
# Threads that wait for each other by spinning collapse as soon as another process wants their core.
POLITE = {"OMP_WAIT_POLICY": "PASSIVE"}


def current_settings(variables: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process, from its environment."""
    return load_settings(variables=os.environ if variables is None else variables)


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment of every process of the platform: the settings, homes below the work folder, telemetry off."""
    work_dir = settings.work_dir.absolute()
    platform = settings.platform
    return {
        **os.environ,
        **QUIET,
        **POLITE,
        f"{VARIABLE_PREFIX}SHOP": settings.shop,
        f"{VARIABLE_PREFIX}WORK_DIR": str(work_dir),
        **_variables("PLATFORM", platform.model_dump(mode="json")),
        **_variables("FEATURE_STORE", settings.feature_store.model_dump(mode="json")),
        **_variables("SERVING", settings.serving.model_dump(mode="json")),
        **_variables("SEARCH", {name: json.dumps(v) for name, v in settings.search.model_dump(mode="json").items()}),
        **home_variables(work_dir),
        "PREFECT_API_URL": f"http://{platform.host}:{platform.prefect_port}/api",
        "PREFECT_SERVER_API_HOST": platform.host,
        "PREFECT_SERVER_API_PORT": str(platform.prefect_port),
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_CLI_COLORS": "false",
        "PYTHONUNBUFFERED": "1",
    }


def home_variables(work_dir: Path) -> dict[str, str]:
    """Where Prefect and BentoML keep their state."""
    return {
        "PREFECT_HOME": str(work_dir / "prefect"),
        "PREFECT_LOCAL_STORAGE_PATH": str(work_dir / "prefect" / "results"),
        "BENTOML_HOME": str(work_dir / "bentoml"),
    }


def _variables(group: str, values: Mapping[str, object]) -> dict[str, str]:
    return {f"{VARIABLE_PREFIX}{group}__{name.upper()}": str(value) for name, value in values.items()}
