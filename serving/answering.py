"""The shop's service over HTTP, or the bundle in service itself where no service runs. The answers are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import httpx
from pydantic import ValidationError

from core.errors import NotRunning
from core.experiments import CHAMPION
from core.keys import given_key
from core.layout import Layout
from core.overrides import Overrides
from core.settings.tree import Settings
from core.tombstones import TombstoneFile
from serving.api.feedback import Feedback, FeedbackRequest, TextPiece
from serving.api.lists import (
    Found,
    Latest,
    LatestRequest,
    Popular,
    PopularRequest,
    SearchRequest,
    Similar,
    SimilarRequest,
)
from serving.api.message import API_PREFIX, Message
from serving.api.problem import explain
from serving.api.recommend import Recommendations, RecommendRequest
from serving.api.score import ScoreRequest, Scores
from serving.changes import ChangeDesk
from serving.client import Client
from serving.engine import Engine
from serving.errors import RequestFailed, UnknownVariant
from serving.watcher import find_promoted

_PROBE_TIMEOUT_S = 5.0
_GRACE_S = 5.0  # beyond the service's own limit, so that its sentence arrives

Read = TypeVar("Read", bound=Message)


class Answering(Protocol):
    """What answers requests; a method as of `Client`."""

    def recommend(self, request: RecommendRequest) -> Recommendations:
        """The k best items."""
        ...

    def similar(self, request: SimilarRequest) -> Similar:
        """Items like an item."""
        ...

    def search(self, request: SearchRequest) -> Found:
        """Items that a text speaks of."""
        ...

    def popular(self, request: PopularRequest) -> Popular:
        """The items with the most events."""
        ...

    def latest(self, request: LatestRequest) -> Latest:
        """The newest items."""
        ...

    def score(self, request: ScoreRequest) -> Scores:
        """How much the user would like each item."""
        ...

    def stream_feedback(self, request: FeedbackRequest) -> Iterator[TextPiece | Feedback]:
        """Texts in pieces, and each whole behind its last piece."""
        ...


class LoadedBundle:
    """Answers with a bundle that is loaded here, as the service would.

    Args:
        engine: With the bundle.
    """

    def __init__(self, engine: Engine) -> None:
        self.score = engine.score
        self.similar, self.search = engine.lists.similar, engine.lists.search
        self.popular, self.latest = engine.lists.popular, engine.lists.latest
        self._engine = engine

    def recommend(self, request: RecommendRequest) -> Recommendations:
        """The k best items, by the bundle that is loaded.

        Raises:
            UnknownVariant: another one is asked for; or what the engine raises.
        """
        if request.variant not in (None, CHAMPION):
            raise UnknownVariant(
                "Cannot recommend by a variant of choice",
                got=f"variant={request.variant!r}",
                expected=f"{CHAMPION}, as no service runs that has others loaded",
                do="Start the service: sommelier up",
            )
        return self._engine.recommend(request)

    def stream_feedback(self, request: FeedbackRequest) -> Iterator[TextPiece | Feedback]:
        """Texts in pieces, of which here each has one."""
        for index, one in enumerate(request.each()):
            answer = self._engine.feedback(one)
            yield TextPiece(index=index, text=answer.text)
            yield answer


def connect(settings: Settings, show: Callable[[str], None]) -> Answering:
    """The service of the shop where one runs and is ready; otherwise the bundle in service, loaded here.

    Args:
        settings: Say which shop, in which work folder, and where its service is.
        show: Called with a line that says so where the bundle is loaded.
    Raises:
        NotRunning: no service runs, and nothing was promoted that could be loaded.
        BundleError: it cannot be loaded.
    """
    client = find_service(settings)
    if client is not None:
        return client
    engine = load_engine(settings)
    url = _service_url(settings)
    show(f"no service of shop {settings.shop} answers at {url}: answered by {engine.model}, loaded for this request")
    return LoadedBundle(engine)


def find_service(settings: Settings) -> Client | None:
    """The service of this shop, ready to answer; None where none is there: another shop's does not count."""
    url = _service_url(settings)
    try:
        model = httpx.get(f"{url}{API_PREFIX}/model", timeout=_PROBE_TIMEOUT_S, trust_env=False).json()["model"]
    except (httpx.TransportError, ValueError, KeyError, TypeError):
        return None
    name = Layout(settings.work_dir, settings.shop).model_name
    if not isinstance(model, str) or model.rpartition(":")[0] != name:
        return None
    return Client(url, given_key(), timeout_s=settings.serving.timeout_s + _GRACE_S)


def load_engine(settings: Settings) -> Engine:
    """Load the bundle in service, with what clients said of its items, and open the shop's online store.

    BENTOML_HOME says where the model store lies.

    Raises:
        NotRunning: nothing was promoted yet.
        BundleError: the bundle cannot be loaded.
        OverrideError: what clients said of items cannot be read.
        SettingsError: the settings want a GPU, and there is none.
    """
    from transformers.utils.logging import disable_progress_bar

    from features.online import OnlineFeatures
    from recommender.bundle.loading import load_bundle
    from recommender.fitting.device import resolve_device

    layout = Layout(settings.work_dir, settings.shop)
    promoted = find_promoted(layout.model_name)
    if not promoted:
        raise NotRunning(
            "Cannot answer",
            got=f"shop={settings.shop}, without a service at {_service_url(settings)} and without a promoted bundle",
            expected="one of the two",
            where=str(layout.root),
            do="Run the pipeline: sommelier up; or name the shop: --set shop=<name>",
        )
    disable_progress_bar()
    device = resolve_device(settings.serving.device, "serving.device")
    bundle = load_bundle(promoted[0].folder, device, layout.language_models)
    is_forgotten = TombstoneFile(layout.forgotten).holds
    online = OnlineFeatures(layout.feast, bundle.manifest.recipe.features, is_forgotten)
    limits = settings.serving
    engine = Engine(
        model=promoted[0].model, bundle=bundle, features=online, max_k=limits.max_k, max_users=limits.max_users
    )
    overrides = Overrides(layout.overrides, is_forgotten)
    ChangeDesk(overrides, layout.to_forget, layout.forgotten).bring_up(engine.live)
    return engine


def read_request(kind: type[Read], fields: dict[str, Any]) -> Read:
    """A request of these fields, in the service's own words where they do not fit.

    Raises:
        RequestFailed: a field is wrong.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise RequestFailed(explain(error)) from error


def _service_url(settings: Settings) -> str:
    return settings.platform.url_of("service")
