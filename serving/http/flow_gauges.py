"""Figures that the shop's flows left for Prometheus, shown beside the service's own."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from prometheus_client.core import Metric

logger = logging.getLogger(__name__)


def with_flow_gauges(content: str, folder: Path) -> str:
    """The service's metrics, and after them those of the folder's `*.prom` files, each family once.

    A file that cannot be read, or is none of Prometheus's, is left out and named in the log: the service's own metrics
    are shown whatever lies there.

    Args:
        content: In Prometheus's text format.
        folder: Of the shop; may be missing.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    families: dict[str, Metric] = {}
    for file in sorted(folder.glob("*.prom")):
        for family in _read(file):
            if family.name in families:
                families[family.name].samples.extend(family.samples)
            else:
                families[family.name] = family
    if not families:
        return content
    registry = CollectorRegistry(auto_describe=False)
    registry.register(cast(Any, _Found(families.values())))
    return content + generate_latest(registry).decode()


def _read(file: Path) -> list[Metric]:
    from prometheus_client.parser import text_string_to_metric_families

    try:
        return list(text_string_to_metric_families(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return []  # a flow has just removed it
    except (OSError, ValueError) as error:
        logger.warning("Cannot read the figures of a flow, and leave them out: %s: %s", file.name, error)
        return []


class _Found:
    """What a registry collects: these families and nothing else."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> list[Metric]:
        return self._families
