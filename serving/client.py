"""Ask a shop's service over HTTP, or the bundle in service itself where no service runs. The answers are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import httpx
from pydantic import SecretStr, ValidationError

from core.errors import NotRunning
from core.keys import given_key, key_header
from core.layout import Layout
from core.settings.tree import Settings
from core.tombstones import TombstoneFile
from serving.api.feedback import Feedback, FeedbackRequest
from serving.api.message import API_PREFIX, Message
from serving.api.problem import explain
from serving.api.recommend import Recommendations, RecommendRequest
from serving.api.score import ScoreRequest, Scores
from serving.engine import Engine
from serving.errors import Refused
from serving.watcher import find_promoted

_PROBE_TIMEOUT_S = 5.0
_GRACE_S = 5.0  # beyond the service's own limit, so that its sentence arrives

Read = TypeVar("Read", bound=Message)


class Answering(Protocol):
    """What answers requests.

    Attributes:
        model: The bundle, name:version.
    """

    model: str

    def recommend(self, request: RecommendRequest) -> Recommendations:
        """The k best items."""
        ...

    def score(self, request: ScoreRequest) -> Scores:
        """How much the user would like each item."""
        ...

    def feedback(self, request: FeedbackRequest) -> Feedback:
        """A review, or why an item suits."""
        ...


class Client:
    """Asks a service.

    Args:
        url: Of the service.
        model: The bundle that it has loaded.
        timeout_s: Of a request, seconds.
        key: Sent with each request, where the service needs one.
    """

    def __init__(self, url: str, model: str, timeout_s: float, key: SecretStr | None = None) -> None:
        self.url, self.model, self._timeout_s, self._key = url, model, timeout_s, key

    def recommend(self, request: RecommendRequest) -> Recommendations:
        """Ask `/v1/recommend`."""
        return self._ask(f"{API_PREFIX}/recommend", request, Recommendations)

    def score(self, request: ScoreRequest) -> Scores:
        """Ask `/v1/score`."""
        return self._ask(f"{API_PREFIX}/score", request, Scores)

    def feedback(self, request: FeedbackRequest) -> Feedback:
        """Ask `/v1/feedback`."""
        return self._ask(f"{API_PREFIX}/feedback", request, Feedback)

    def _ask(self, endpoint: str, request: Message, kind: type[Read]) -> Read:
        try:
            answer = httpx.post(
                f"{self.url}{endpoint}",
                json=request.model_dump(mode="json"),
                headers=key_header(self._key),
                timeout=self._timeout_s,
                trust_env=False,
            )
            if answer.is_success:
                return kind.model_validate_json(answer.content)
            raise Refused(str(answer.json()["error"]))
        except (httpx.TransportError, ValueError, KeyError, TypeError) as error:
            raise NotRunning(
                f"Cannot ask {endpoint}",
                got=f"error={(str(error) or type(error).__name__).splitlines()[0]}",
                expected="an answer of the service",
                where=self.url,
                do="Read service.log in the work folder's logs, and ask again",
            ) from error


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
    loaded = load_engine(settings)
    url = _service_url(settings)
    show(f"no service of shop {settings.shop} answers at {url}: answered by {loaded.model}, loaded for this request")
    return loaded


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
    return Client(url, model, settings.serving.timeout_s + _GRACE_S, given_key())


def load_engine(settings: Settings) -> Engine:
    """Load the bundle in service, and open the shop's online store. BENTOML_HOME says where the model store lies.

    Raises:
        NotRunning: nothing was promoted yet.
        BundleError: the bundle cannot be loaded.
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
    return Engine(
        model=promoted[0].model, bundle=bundle, features=online, max_k=limits.max_k, max_users=limits.max_users
    )


def read_request(kind: type[Read], fields: dict[str, Any]) -> Read:
    """A request of these fields, in the service's own words where they do not fit.

    Raises:
        Refused: a field is wrong.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise Refused(explain(error)) from error


def _service_url(settings: Settings) -> str:
    return settings.platform.url_of("service")
