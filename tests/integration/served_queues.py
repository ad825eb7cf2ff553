"""A process that serves two deployments as the platform does: one that takes long, and one with a queue of its own."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from prefect import flow
from prefect.types.entrypoint import EntrypointType

from flows.platform.deployments import serve_queues


@flow(log_prints=False)
def take_long() -> None:
    """Hold a slot until the process is stopped."""
    time.sleep(600)


@flow(log_prints=False)
def be_quick() -> None:
    """Hold a slot for a moment."""


def build() -> dict[str, list[Any]]:
    """The two deployments by queue."""
    made = {"default": take_long, "rollback": be_quick}
    return {
        queue: [one.to_deployment(f"queue-{queue}", entrypoint_type=EntrypointType.MODULE_PATH)]
        for queue, one in made.items()
    }


if __name__ == "__main__":
    # As a module of its name: runs are other processes, which import the flows again.
    from tests.integration import served_queues

    asyncio.run(serve_queues(served_queues.build()))
