"""Feast's registry file, written atomically: the service reads it while a flow rewrites it."""

from __future__ import annotations

import uuid
from typing import Any

from feast.infra.registry.file import FileRegistryStore
from feast.utils import _utc_now

from core.storage import atomic_file


class AtomicFileRegistryStore(FileRegistryStore):
    """A registry file that readers see whole. Feast's own truncates it first, and a reader then finds no features."""

    def _write_registry(self, registry_proto: Any) -> None:
        registry_proto.version_id = str(uuid.uuid4())
        registry_proto.last_updated.FromDatetime(_utc_now())
        with atomic_file(self._filepath) as temporary:
            temporary.write_bytes(registry_proto.SerializeToString())
