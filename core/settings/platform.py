"""Settings of where and how the parts of the platform run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from core.settings.form import Frozen

Port = Annotated[int, Field(ge=1, le=65535)]


class ServingSettings(Frozen):
    """The service."""

    poll_s: float = Field(1.0, gt=0, description="How often the watcher looks for a newly promoted bundle, seconds.")
    timeout_s: float = Field(10.0, gt=0, description="A request that takes longer is answered 504.")
    max_body_bytes: int = Field(1_000_000, ge=1000, description="A larger request body is answered 413.")
    max_k: int = Field(100, ge=1, le=1000, description="Largest k of a request.")
    threads: int = Field(4, ge=1)


class PlatformSettings(Frozen):
    """Where the parts listen; all of them on the same host."""

    host: str = "127.0.0.1"
    prefect_port: Port = 4200
    service_port: Port = 3000
    monitoring_port: Port = 8000
    reports_port: Port = 8010
