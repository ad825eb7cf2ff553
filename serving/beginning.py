"""What a worker does before its first answer."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from serving.errors import ServiceMisconfigured


def check_model_store(work_dir: Path) -> None:
    """Without the model store's folder a service would wait for bundles for ever.

    Raises:
        ServiceMisconfigured: BENTOML_HOME is not set.
    """
    if not os.environ.get("BENTOML_HOME"):
        raise ServiceMisconfigured(
            "Cannot start the service",
            got="BENTOML_HOME=''",
            expected="the folder of the model store that the pipeline promotes to",
            do=f"Set BENTOML_HOME={work_dir.absolute() / 'bentoml'}, or start with: make run",
        )


def settle_memory() -> None:
    """Exempt what is loaded from garbage collection: scanning it stalls requests for a second.

    What was exempted before stays so, and is not scanned here. A bundle that is replaced goes all the same: nothing in
    it refers back to itself, so that its last user frees it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 1000)
