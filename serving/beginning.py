"""What a worker does before its first answer, and before it answers by another bundle."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, cast

from core.layout import Layout
from core.settings.features import FeatureSettings
from core.settings.platform import ServingSettings
from core.settings.tree import Settings
from serving.changes import ChangeDesk
from serving.engine import Engine
from serving.errors import ServiceMisconfigured
from serving.online.shop_store import ShopStore
from serving.watcher import Promoted

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


class EngineMaker:
    """Makes the engine of a bundle, beside those that answer; what is equal in them is shared.

    Many threads may make some at once. Each is brought up as it is loaded, and is to be once more before it answers.

    Args:
        layout: Of the shop.
        settings: Of the shop.
        store: The shop's online store.
        changes: What clients say of items.
        in_service: What answers; None where nothing does.
    """

    def __init__(
        self,
        layout: Layout,
        settings: Settings,
        store: ShopStore,
        changes: ChangeDesk,
        in_service: Callable[[], Engine | None],
    ) -> None:
        self._layout, self._settings, self._store, self._changes = layout, settings, store, changes
        self._in_service = in_service

    def make(self, promoted: Promoted, beside: Sequence[Engine] = ()) -> Engine:
        """Load a bundle and answer with it once.

        Args:
            beside: What is in memory beside what is in service.
        Raises:
            BundleError: it cannot be loaded.
            OverrideError: what clients say of items cannot be read, and never could be.
        """
        ours, limits = self._in_service(), self._settings.serving
        in_memory = [engine.bundle for engine in (*(() if ours is None else (ours,)), *beside)]
        self._changes.look()
        bundle = open_bundle(promoted.folder, self._layout, limits, in_memory)
        engine = Engine(
            model=promoted.model,
            bundle=bundle,
            features=self._reader(bundle.manifest.recipe.features),
            max_k=limits.max_k,
            max_users=limits.max_users,
        )
        self.bring_up(engine)
        engine.warm()
        if self._in_service() is None:
            # Nothing answers meanwhile: requests that do without it need not wait for it.
            Thread(target=engine.warm_encoder, name="encoder-warming", daemon=True).start()
        else:
            engine.warm_encoder()
        return engine

    def make_beside(self, promoted: Promoted, beside: Sequence[Engine]) -> Engine:
        """The engine of a bundle for an experiment, which reads the online store as the bundle in service does.

        Raises:
            ServiceMisconfigured: it is of another shop, or its recipe reads the store in another way.
            BundleError, OverrideError: as of `make`.
        """
        ours = self._in_service()
        features = None if ours is None else ours.bundle.manifest.recipe.features
        check_beside(promoted.model, promoted.folder, self._settings.shop, features)
        return self.make(promoted, beside)

    def bring_up(self, engine: Engine) -> None:
        """Have an engine show what clients said since it was loaded.

        Raises:
            OverrideError: as of `make`.
        """
        self._changes.bring_up(engine.live)

    def _reader(self, settings: FeatureSettings) -> Any:
        """The online store as a recipe reads it; as it is open, where what is in service reads it so."""
        ours = self._in_service()
        if ours is not None and ours.bundle.manifest.recipe.features == settings:
            return cast(Any, ours.features)
        return self._store.read_as(settings)


class Settling:
    """Settles memory after bundles came or went; not while one is loaded, as what that holds for the while would be
    exempted for ever.

    Args:
        is_loading: Whether one is.
    """

    def __init__(self, is_loading: Callable[[], bool]) -> None:
        self._is_loading = is_loading
        self._is_due = False

    def ask(self) -> None:
        """Have it done as soon as nothing is loaded."""
        self._is_due = True

    def run(self) -> None:
        """Do it if it is due."""
        if self._is_due and not self._is_loading():
            self._is_due = False
            settle_memory()


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
