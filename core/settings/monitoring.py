"""Settings of monitoring."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.settings.form import Frozen, Share


class DriftSettings(Frozen):
    """Drift: is the newest window of data still like the training window?"""

    method: Literal["psi", "wasserstein", "jensenshannon"] = Field("psi", description="Evidently's drift measure.")
    threshold: float = Field(0.2, gt=0, description="A column above it has drifted.")
    share: Share = Field(0.5, description="Share of drifted columns from which the data set has drifted.")
