"""What `prefect deploy` fills into the deployments of a work pool: a build step of `deployments/prefect.yaml`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from core.settings.loading import FILE_VARIABLE, load_settings
from flows.environment import run_environment
from flows.platform.deployments import read_parameters


def fill_in() -> dict[str, Any]:
    """The settings of the file that SOMMELIER_SETTINGS names, and of this process's environment, for the placeholders.

    Returns:
        `shop`; `environment`, the variables of a worker's processes; and for each deployment its parameters, by its
        name with underscores.
    Raises:
        SettingsError: the settings cannot be read.
    """
    file = os.environ.get(FILE_VARIABLE)
    settings = load_settings(Path(file) if file else None, os.environ)
    parameters = read_parameters(settings.shop, settings.recipe, settings.search)
    return {
        "shop": settings.shop,
        "environment": run_environment(settings),
        **{name.replace("-", "_"): params for name, params in parameters.items()},
    }
