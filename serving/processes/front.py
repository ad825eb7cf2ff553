"""The service as its supervisor knows it: a name and a number of processes.

The supervisor answers nothing, so it need not import what does: workers load `serving.service` in its place.
"""

import os

import bentoml

from core.settings.loading import load_settings

_SERVING = load_settings(variables=os.environ).serving


@bentoml.service(workers=_SERVING.workers + _SERVING.spares)
class Sommelier:
    """Stands for `serving.service.Sommelier`, whose name it has."""
