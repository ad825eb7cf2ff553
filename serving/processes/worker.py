"""A process of the service: one that answers, or a spare, which has imported everything and waits for a seat."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from core.settings.loading import load_settings
from serving.processes.log_lines import write_log_lines
from serving.processes.metric_files import reserve_room
from serving.processes.seats import PARENT, orphaned, take_seat, wait_for_seat

SEATS = "SERVING_SEATS"  # the folder of the seats
FRONT, SERVICE = "serving.processes.front:Sommelier", "serving.service:Sommelier"
# For so long a spare leaves the processor to those that are starting.
_PATIENCE_S = 8.0
# What takes a start the longest, with what loading a bundle imports; a bundle itself is loaded with the seat.
_IMPORTS = (
    "serving.service",
    "feast.feature_store",
    "feast.infra.offline_stores.duckdb",
    "feast.infra.offline_stores.contrib.postgres_offline_store.postgres",
    "pyarrow.dataset",
    "bm25s",
    "uvicorn",
    "_bentoml_impl.server.app",
)


def main() -> None:
    """Wait for a seat, then answer until a signal comes."""
    settings = load_settings(variables=os.environ)
    write_log_lines(settings.logs.format)
    folder, number = Path(os.environ[SEATS]), settings.serving.workers
    # Remembered before anything slow: whoever starts after the supervisor is gone would take its heir for it.
    os.environ[PARENT] = str(os.getppid())
    is_over = orphaned()
    seat = take_seat(folder, number)
    if seat is None:
        seat = wait_for_seat(folder, number, _PATIENCE_S, is_over)
        for name in _IMPORTS:
            import_module(name)
        seat = seat or wait_for_seat(folder, number, is_over=is_over)
    if seat is None or is_over():
        sys.exit("The process that started this spare is gone: stopping")
    from _bentoml_impl.worker.service import main as answer  # type: ignore[import-untyped]

    with suppress(OSError):  # a full disk keeps nobody from answering
        reserve_room(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]), os.getpid())
    with seat:
        answer([SERVICE if word == FRONT else word for word in sys.argv[1:]])


if __name__ == "__main__":
    main()
