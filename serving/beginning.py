"""What a worker does before its first answer."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.layout import Layout
from core.settings.features import FeatureSettings
from core.settings.platform import ServingSettings
from serving.errors import ServiceMisconfigured

if TYPE_CHECKING:
    from recommender.bundle.loading import Bundle


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


def check_beside(model: str, folder: Path, shop: str, features: FeatureSettings | None) -> None:
    """See that a bundle may answer beside the one in service, which reads the shop's online store.

    Args:
        model: The bundle.
        folder: Of it.
        shop: That is served.
        features: By which the bundle in service reads the store.
    Raises:
        ServiceMisconfigured: it is of another shop, or its recipe reads the store in another way.
    """
    from recommender.bundle.manifest import read_manifest

    manifest = read_manifest(folder)
    if manifest.shop != shop or manifest.recipe.features != features:
        raise ServiceMisconfigured(
            "Cannot answer beside the bundle in service",
            got=f"shop={manifest.shop}, recipe.features={manifest.recipe.features.model_dump_json()}",
            expected=f"shop={shop}, recipe.features={'' if features is None else features.model_dump_json()}",
            where=model,
            do="Train a bundle for this shop with the features of the one in service",
        )


def open_bundle(folder: Path, layout: Layout, settings: ServingSettings, beside: Sequence[Bundle]) -> Bundle:
    """Load a bundle to answer with; what is equal in those beside it is shared, and a large catalogue is indexed.

    Raises:
        BundleError: it cannot be loaded.
    """
    from recommender.bundle.indexing import indexed
    from recommender.bundle.loading import load_bundle
    from recommender.fitting.device import resolve_device

    device = resolve_device(settings.device, "serving.device")
    bundle = load_bundle(folder, device, layout.language_models, beside=beside)
    return indexed(bundle, layout.indexes, settings.exact_items)


def settle_memory() -> None:
    """Exempt what is loaded from garbage collection: scanning it stalls requests for a second.

    What was exempted before stays so, and is not scanned here. A bundle that is replaced goes all the same: nothing in
    it refers back to itself, so that its last user frees it.
    """
    gc.collect()
    _give_back_memory()
    gc.freeze()
    gc.set_threshold(50_000, 20, 1000)


def _give_back_memory() -> None:
    """What reading files took and nothing holds any more goes back to the system."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # of glibc alone
        libc.malloc_trim(0)
