"""The API's schema is a promise to clients: a change of it has to show in a diff.

When a change is meant, renew the snapshot and look at it:

    python -m tests.contract.test_api_schema
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from core import schema
from core.settings.features import EventKind
from serving.api.endpoints import ENDPOINTS, SUCCESSORS
from serving.api.feedback import FeedbackRequest
from serving.api.openapi import describe_api
from serving.events.terms import PLAIN_TERMS
from serving.http.changes import CHANGES
from serving.http.pages import PAGE

SNAPSHOT = Path(__file__).with_name("api_schema.json")
RENEW = "python -m tests.contract.test_api_schema"


def test_the_schema_is_the_one_that_was_promised() -> None:
    assert describe_api() == json.loads(SNAPSHOT.read_text(encoding="utf-8")), f"If this is meant, run: {RENEW}"


def test_the_events_are_those_of_the_contract() -> None:
    for name in schema.EVENTS:
        assert PLAIN_TERMS.kind(name, "events.0") == name
    described = describe_api()["components"]["schemas"]["Event"]["properties"]["event"]["description"]
    assert described.startswith(", ".join(schema.EVENTS[:-1]) + f" or {schema.EVENTS[-1]};")


def test_the_kinds_that_may_make_an_item_seen_are_those_of_the_contract() -> None:
    assert get_args(EventKind) == schema.EVENTS


def test_the_range_of_ratings_is_that_of_the_contract() -> None:
    low, high = schema.RATING_RANGE
    for rating in (low, high):
        assert FeedbackRequest(item_id="i", rating=rating).rating == rating
    for rating in (low - 0.1, high + 0.1):
        with pytest.raises(ValueError, match="rating"):
            FeedbackRequest(item_id="i", rating=rating)


@pytest.mark.parametrize("endpoint", [e for e in ENDPOINTS if e.request], ids=lambda endpoint: endpoint.path)
def test_every_request_has_an_example_that_it_takes(endpoint: Any) -> None:
    model: type[BaseModel] = endpoint.request
    example = describe_api()["components"]["schemas"][model.__name__]["example"]
    model.model_validate_json(json.dumps(example))


def test_every_reference_of_the_schema_leads_somewhere() -> None:
    description = describe_api()
    text = json.dumps(description)
    named = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert named <= set(description["components"]["schemas"])
    assert named >= {"Problem", "RecommendRequest", "Recommendations", "Event"}


def test_no_request_takes_unknown_fields() -> None:
    schemas = describe_api()["components"]["schemas"]
    for name in ("RecommendRequest", "ScoreRequest", "FeedbackRequest", "EventsRequest", "Event"):
        assert schemas[name]["additionalProperties"] is False


def test_the_page_loads_nothing_from_elsewhere() -> None:
    assert "//" not in PAGE


def test_the_service_serves_what_the_schema_says() -> None:
    from serving import service

    served: Any = service.Sommelier
    posts = {method.route: method for method in served.apis.values()}
    assert set(posts) == {e.path for e in ENDPOINTS if e.method == "post" and not e.is_change}
    for endpoint in ENDPOINTS:
        if endpoint.path in posts:
            assert endpoint.request is not None
            assert issubclass(posts[endpoint.path].input_spec, endpoint.request)
            assert issubclass(posts[endpoint.path].output_spec, endpoint.answer)
    own = {e.path for e in ENDPOINTS if e.method == "get"} - {"/livez", "/readyz", "/metrics"}
    assert own <= {getattr(route, "path_format", "") for route in service.PAGES.routes}
    changing = {(e.method.upper(), e.path) for e in ENDPOINTS if e.is_change}
    assert changing == {(method, route.path_format) for route in CHANGES for method in route.methods or ()}
    assert all(route in service.PAGES.routes for route in CHANGES)


def test_the_paths_of_earlier_releases_are_marked_and_otherwise_the_same() -> None:
    described = describe_api()["paths"]
    names = ("recommend", "score", "feedback", "events", "model")
    assert {f"/{name}": f"/v1/{name}" for name in names} == SUCCESSORS
    for earlier, successor in SUCCESSORS.items():
        ((method, old),) = described[earlier].items()
        new = described[successor][method]
        assert (old["deprecated"], new.get("deprecated")) == (True, None)
        assert (old["responses"], old.get("requestBody")) == (new["responses"], new.get("requestBody"))
        assert successor in old["description"]


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(describe_api(), indent=2) + "\n", encoding="utf-8")
