"""Settings of where and how the parts of the platform run."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from core.settings.form import Frozen
from core.settings.monitoring import AnswerCountSettings, ExperimentSettings, PredictionLogSettings

Port = Annotated[int, Field(ge=1, le=65535)]


Device = Literal["auto", "cpu", "cuda"]


class Rate(Frozen):
    """How often one key, or one address, may ask."""

    per_s: float = Field(0.0, ge=0, description="Requests a second; 0: as many as come.")
    burst: int = Field(20, ge=1, description="Requests at once after a pause.")


class RateSettings(Frozen):
    """Rate limits, each in every worker by itself."""

    read: Rate = Field(default_factory=Rate, description="Of each key, for what needs the scope read.")
    events: Rate = Field(default_factory=Rate, description="Of each key, for what needs the scope events.")
    admin: Rate = Field(default_factory=Rate, description="Of each key, for what needs the scope admin.")
    keyless: Rate = Field(
        default_factory=Rate,
        description="Of each client address, for requests without a valid key; not for /livez and /readyz.",
    )


class InFlight(Frozen):
    """How many requests may be worked on or wait at once, in every worker by itself; one more is answered 429."""

    answers: int = Field(128, ge=1, description="For lists and scores.")
    texts: int = Field(64, ge=1, description="For texts; of those `feedback_waiting` wait for a writer.")
    events: int = Field(64, ge=1, description="That bring clients' events.")
    admin: int = Field(
        16, ge=1, description="For what needs the scope `admin`: changes of items and users, lineage, the audit log."
    )
    others: int = Field(32, ge=1, description="For everything else: pages, the model, reads of items and users.")


class OnlineReadSettings(Frozen):
    """How the service reads the online store, and goes on without it, in every worker by itself."""

    timeout_s: float = Field(
        1.0, gt=0, le=30, description="A read or a push that waits longer for a lock or for Redis fails, seconds."
    )
    retry_s: float = Field(
        2.0,
        ge=0,
        description="After a failure the store is not asked for so many seconds; then one asks, and the others still "
        "do without.",
    )
    kept_bytes: int = Field(
        32_000_000,
        ge=0,
        description="Of what was read last of users, in memory: they are answered by it while the store is away. 0: "
        "they are answered as a cold start.",
    )


_ENDPOINT = r"^(https?://[^\s/?#@]+(/[^\s?#]*)?)?$"


class TracingSettings(Frozen):
    """OpenTelemetry traces; off by default."""

    endpoint: str = Field(
        "",
        pattern=_ENDPOINT,
        description="Where spans are sent by OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces; empty: no "
        "traces. A key of the collector's goes into OTEL_EXPORTER_OTLP_HEADERS.",
    )
    share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Of the service's requests that come without a trace of their caller's: which share is traced. "
        "With one, the caller has decided.",
    )


class ServiceTracingSettings(Frozen):
    """Where the traces of the service differ from those of the platform."""

    endpoint: str = Field(
        "", pattern=_ENDPOINT, description="Where the service's spans are sent; empty: `platform.tracing.endpoint`."
    )
    share: float | None = Field(
        None, gt=0, le=1, description="Which share of its requests is traced; null: `platform.tracing.share`."
    )


_ORIGIN = re.compile(r"https?://[^\s/?#@*]+")


class ServingSettings(Frozen):
    """The service."""

    poll_s: float = Field(1.0, gt=0, description="How often the watcher looks for a newly promoted bundle, seconds.")
    timeout_s: float = Field(
        10.0, gt=0, description="A request that takes longer is answered 504; several drafts of texts take longer."
    )
    max_body_bytes: int = Field(1_000_000, ge=1000, description="A larger request body is answered 413.")
    max_k: int = Field(100, ge=1, le=1000, description="Largest k of a request.")
    max_users: int = Field(64, ge=1, le=1000, description="Users of one request for recommendations, at most.")
    threads: int = Field(4, ge=1)
    exact_items: int = Field(
        100_000,
        ge=1,
        description="A catalogue of more items is searched by indexes, which find nearly all of the best (98 of 100 by "
        "each part); of one of at most so many every item is scored.",
    )
    workers: int = Field(1, ge=1, le=64, description="Processes that answer, each with the bundle in memory.")
    spares: int = Field(
        1,
        ge=0,
        le=4,
        description="Processes that wait, with everything imported, to load the bundle and answer in the place of a "
        "worker that was killed.",
    )
    in_flight: InFlight = Field(default_factory=InFlight)
    batch: int = Field(
        16, ge=1, le=256, description="Requests for lists that wait together are answered together, so many at most."
    )
    feedback_threads: int = Field(
        1, ge=1, le=16, description="How many texts, or batches of them, are written at once; apart from `threads`."
    )
    feedback_waiting: int = Field(
        16, ge=0, le=32, description="Requests for texts that may wait; one more is answered 429 at once."
    )
    feedback_batch: int = Field(
        8,
        ge=1,
        description="Texts of requests that wait together are written together, so many at most; where each has "
        "several drafts (`recipe.writer.drafts`), so many drafts, and one text at least.",
    )
    max_pairs: int = Field(
        16,
        ge=1,
        le=1000,
        description="Pairs of user and item of one request for texts, at most; the more drafts, the longer they take.",
    )
    stream_s: float = Field(60.0, gt=0, description="A streamed answer that takes longer ends with an error, seconds.")
    online_store: OnlineReadSettings = Field(default_factory=OnlineReadSettings)
    predictions: PredictionLogSettings = Field(default_factory=PredictionLogSettings)
    answered: AnswerCountSettings = Field(default_factory=AnswerCountSettings)
    experiments: ExperimentSettings = Field(default_factory=ExperimentSettings)
    tracing: ServiceTracingSettings = Field(
        default_factory=ServiceTracingSettings,
        description="Of the service alone; what is not given here is as in `platform.tracing`.",
    )
    device: Device = Field("auto", description="Where the models answer. auto: a CUDA GPU where torch sees one.")
    require_keys: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether requests need an API key. auto: where the service listens beyond this machine, or is "
        "reached from beyond it.",
    )
    open_to_all: bool = Field(
        False,
        description="Lets require_keys=never stand where the service listens beyond this machine: whoever reaches it "
        "may do everything.",
    )
    rates: RateSettings = Field(default_factory=RateSettings)
    cors_origins: tuple[str, ...] = Field(
        (),
        description="Origins whose pages may ask from a browser, such as https://shop.example; '*' for all. None by "
        "default.",
    )
    header_s: float = Field(
        10.0, gt=0, description="A client whose request's headers take longer to come is answered 408, seconds."
    )
    max_header_bytes: int = Field(32_768, ge=1000, description="Longer headers of a request are answered 431.")
    body_s: float = Field(5.0, gt=0, description="A body that takes longer to come is answered 408, seconds.")
    max_json_depth: int = Field(
        64, ge=4, le=150, description="A body with more lists and objects within each other is answered 400."
    )
    max_json_values: int = Field(50_000, ge=100, description="A body with more values in all is answered 400.")
    open_metrics: bool = Field(False, description="/metrics needs no key, as a scraper without one wants it.")

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"origins as browsers write them, such as https://shop.example, or '*'; not {origin}")
        return origins


@lru_cache(maxsize=1024)  # every request asks, of the same few
def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches what listens on a host; False of any name but localhost."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


PartName = Literal["prefect", "service", "monitoring", "reports"]
PagesName = Literal["prefect", "monitoring", "reports"]
# They have no API keys of ours.
KeylessName = Literal["prefect", "monitoring"]
PageAddress = Annotated[str, Field(pattern=r"^(https?://[^\s/?#@]+(/[^\s?#]*)?)?$")]
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104


class LogSettings(Frozen):
    """What the processes write into their logs."""

    format: Literal["text", "json"] = Field(
        "text",
        description="Lines of the logs of the service, of flows and of commands. json: an object a line, with time, "
        "level, logger and message, and the ids of the request and of the flow run.",
    )


class PlatformSettings(Frozen):
    """Where the parts listen, and what a step may take."""

    host: str = Field("127.0.0.1", description="Where the parts listen that have no host of their own.")
    prefect_host: str = Field("", description="Of the Prefect server, which runs whatever it is sent; empty: host.")
    service_host: str = Field("", description="Of the service; empty: host.")
    monitoring_host: str = Field("", description="Of Evidently's UI; empty: host.")
    reports_host: str = Field("", description="Of the reports' pages; empty: host.")
    guarded: tuple[KeylessName, ...] = Field(
        (),
        description="Of the Prefect server and Evidently's UI, which have no API keys: those that may listen beyond "
        "this machine, as what stands in front of them, such as a proxy with passwords, lets in only whom it should. "
        "The others are not started there.",
    )
    prefect_port: Port = 4200
    service_port: Port = 3000
    monitoring_port: Port = 8000
    reports_port: Port = 8010
    prefect_page: PageAddress = Field(
        "",
        description="Where browsers find the Prefect server, for the pages of the service to link to, such as "
        "http://127.0.0.1:4200; empty: there is no link. `sommelier up` names the parts that it starts.",
    )
    monitoring_page: PageAddress = Field(
        "", description="The same of Evidently's UI; what runs leave in Prefect links to it too, else to its host."
    )
    reports_page: PageAddress = Field(
        "",
        description="The same of the reports' pages; what runs leave in Prefect links to them too, else to their host.",
    )
    device: Device = Field(
        "auto",
        description="Where the flows fit and evaluate models. auto: a CUDA GPU where torch sees one. What another "
        "device fitted is fitted again.",
    )
    step_timeout_s: float = Field(
        86_400.0, gt=0, description="A step of a flow that takes longer fails, and is not tried again, seconds."
    )
    tracing: TracingSettings = Field(
        default_factory=TracingSettings, description="Of flow runs and their steps, and of the service's requests."
    )
    history_days: int = Field(
        30,
        ge=1,
        description="What runs leave in Prefect (runs, logs, artifacts, results), and searches that nobody goes on "
        "with, are kept for so many days; events for seven at most.",
    )
    kept_results: int = Field(
        3,
        ge=1,
        description="Results of each step that stay, the newest, beside what runs that go on, experiments and "
        "approvals need; where a promotion leaves two of them, twice as many.",
    )
    kept_reports: int = Field(
        20,
        ge=1,
        description="Validations whose Data Docs stay, the newest, beside those of tables that are still there, and of "
        "what a page is about that something points at.",
    )
    kept_pages: int = Field(
        100,
        ge=1,
        description="Pages of evaluations that stay, the newest, and as many of looks for drift; beside those that the "
        "time line, a bundle that a rollback can go back to, an experiment or an approval points at.",
    )
    kept_bundles: int = Field(
        10,
        ge=2,
        description="Promoted bundles that a rollback can go back to, the one in service among them; and as many of "
        "those that went into service last stay, also where they were withdrawn. Of all others the weights go when a "
        "flow ends, but for what is pinned or answers in an experiment.",
    )
    sealed_after_days: float = Field(
        30.0,
        ge=0,
        description="Events that the service received so long ago move from its SQLite log into Parquet files beside "
        "it when a flow ends, where they are ten thousand or more. None is removed: flows read them as before.",
    )
    min_free_bytes: int = Field(
        500_000_000,
        ge=0,
        description="Room that stays free on the work folder's disk: old results go first, then steps that write "
        "stop; bytes.",
    )

    originals_days: float = Field(
        30.0,
        ge=0,
        description="Raw rows and quarantined rows are removed this many days after they were read, at the next flow; "
        "0: when they were validated.",
    )

    def host_of(self, part: PartName) -> str:
        """Where a part listens."""
        return str(getattr(self, f"{part}_host")) or self.host

    def is_local(self, part: PartName) -> bool:
        """Whether nobody but this machine reaches a part."""
        return is_loopback(self.host_of(part))

    def has_keys(self, part: PartName) -> bool:
        """Whether a part lets in by API keys."""
        return part not in get_args(KeylessName)

    def port_of(self, part: PartName) -> int:
        """The port that it listens on."""
        return int(getattr(self, f"{part}_port"))

    def page_of(self, part: PagesName) -> str:
        """Where browsers find a part, without a slash at the end; empty where that is not known."""
        return str(getattr(self, f"{part}_page")).rstrip("/")

    def link_to(self, part: PagesName) -> str:
        """Where people find a part: where that is said, else where a client on this machine asks it."""
        return self.page_of(part) or self.url_of(part)

    def url_of(self, part: PartName) -> str:
        """Where a client on this machine asks it."""
        host = self.host_of(part)
        if host in _EVERYWHERE:
            host = "127.0.0.1"
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port_of(part)}"
