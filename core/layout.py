"""Where a shop's files lie: one folder per shop, so that two shops never mix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The paths of one shop below the work folder.

    Stage folders are named by the key of their inputs and written atomically, so a folder that exists is whole.
    """

    work_dir: Path
    shop: str

    @property
    def root(self) -> Path:
        return self.work_dir.absolute() / self.shop

    @property
    def language_models(self) -> Path:
        """Pretrained language models that were converted for this machine; all shops share them."""
        return self.work_dir.absolute() / "language-models"

    @property
    def recipe(self) -> Path:
        """The recipe that the shop's deployments were last served with."""
        return self.root / "recipe.json"

    @property
    def guessed(self) -> Path:
        """The settings that were guessed of data that came without any."""
        return self.root / "guessed.toml"

    def raw(self, key: str) -> Path:
        """The source's rows as they came, in parts, and how they read as tables: `raw.json`."""
        return self.root / "raw" / key

    def clean(self, key: str) -> Path:
        """Validated tables, quarantine and summary."""
        return self.root / "clean" / key

    def training(self, key: str) -> Path:
        """The training set: the files of `schema.TRAINING_TABLES`."""
        return self.root / "training" / key

    def component(self, name: str, key: str) -> Path:
        """One learned part of a bundle: text vectors, sequence model, scorer, writer."""
        return self.root / "components" / name / key

    def baseline_bundle(self, key: str) -> Path:
        """A bundle in which a baseline serves in a candidate's place."""
        return self.root / "baselines" / key

    def refit_bundle(self, key: str) -> Path:
        """A bundle that was fitted again on everything, to go into service."""
        return self.root / "refits" / key

    def bundle(self, key: str) -> Path:
        """A candidate bundle, before the gate."""
        return self.root / "candidates" / key

    def texts(self, key: str) -> Path:
        """Texts that were written for an audience, in parts."""
        return self.root / "texts" / key

    @property
    def searches(self) -> Path:
        """What was tried in searches for better settings (SQLite), and beside it each trial's figures by query."""
        return self.root / "searches" / "searches.sqlite"

    def search(self, name: str) -> Path:
        """The figures of one search."""
        return self.searches.parent / name

    def trial_ndcg(self, search: str, number: int, seed: int) -> Path:
        """What a fit of a trial of a search reached on each validation query."""
        return self.search(search) / f"trial-{number:03d}-seed-{seed}.npy"

    @property
    def tuned(self) -> Path:
        """The best settings that the newest search found, as a settings file."""
        return self.root / "tuned.toml"

    @property
    def indexes(self) -> Path:
        """By which the service finds the best items of large catalogues, by the bundle's files; made when missing."""
        return self.root / "indexes"

    @property
    def feast(self) -> Path:
        """Feast's registry, online store and offline files."""
        return self.root / "feast"

    @property
    def gx(self) -> Path:
        """The Great Expectations context: suites, checkpoint and history of the clean tables."""
        return self.root / "gx"

    @property
    def readmitted(self) -> Path:
        """Quarantined rows that somebody let in again; every ingest reads them beside the source."""
        return self.root / "readmitted"

    @property
    def to_readmit(self) -> Path:
        """Which quarantined rows the service was asked to let in (`core.quarantine.requests`)."""
        return self.root / "to_readmit.json"

    @property
    def forgotten(self) -> Path:
        """Who is forgotten, as salted hashes (`core.tombstones`)."""
        return self.root / "forgotten.json"

    @property
    def to_forget(self) -> Path:
        """Whom the service was asked to forget and no flow has removed yet (`core.removals`)."""
        return self.root / "to_forget.json"

    @property
    def api_keys(self) -> Path:
        """The service's API keys, as hashes (`core.keys`)."""
        return self.root / "api_keys.json"

    @property
    def audit(self) -> Path:
        """Who changed what of the shop that is served (`core.logs.audit`)."""
        return self.root / "audit.jsonl"

    @property
    def audit_reads(self) -> Path:
        """Who looked at what is of people or of who did what; apart, so that looking drives no change out."""
        return self.root / "audit_reads.jsonl"

    @property
    def timeline(self) -> Path:
        """What monitoring saw, what was decided of it, and what came of that (`core.logs.timeline`)."""
        return self.root / "timeline.sqlite"

    @property
    def approvals(self) -> Path:
        """What passed the gate and waits for somebody's approval, a file for each run that waits."""
        return self.root / "approvals"

    @property
    def in_use(self) -> Path:
        """Which results the runs that go on use, a file for each run (`flows.in_use`)."""
        return self.root / "in-use"

    @property
    def receipts(self) -> Path:
        """What was removed of each person who was forgotten, one file each."""
        return self.root / "receipts"

    @property
    def data_lock(self) -> Path:
        """Held by every step that reads or writes the shop's data, and alone by whoever forgets somebody."""
        return self.root / "data.lock"

    @property
    def outcome(self) -> Path:
        """What the newest run of the pipeline left for whoever started it."""
        return self.root / "outcome.json"

    @property
    def last_validation(self) -> Path:
        """The summary of the newest validation: what the next one compares volumes with."""
        return self.root / "last_validation.json"

    @property
    def events(self) -> Path:
        """The service's durable event log (SQLite)."""
        return self.root / "events.sqlite"

    @property
    def sealed_events(self) -> Path:
        """What left its table for Parquet files (`core.logs.sealed`)."""
        return self.events.with_suffix("")

    @property
    def predictions(self) -> Path:
        """What the service showed to whom (`core.logs.predictions`), and what was exported of it."""
        return self.root / "predictions"

    @property
    def answered(self) -> Path:
        """How many requests the service answered on each day, and how (`core.logs.answered`)."""
        return self.root / "answered"

    @property
    def gauges(self) -> Path:
        """Figures that flows left for Prometheus, in its text format; the service's `/metrics` shows them."""
        return self.root / "gauges"

    @property
    def overrides(self) -> Path:
        """What clients say of items and users above the source (SQLite)."""
        return self.root / "overrides.sqlite"

    @property
    def reports(self) -> Path:
        """Pages for people: Data Docs, evaluation and drift reports; served as they are."""
        return self.root / "reports"

    @property
    def monitoring(self) -> Path:
        """The Evidently workspace."""
        return self.root / "monitoring"

    @property
    def watched(self) -> Path:
        """What earlier looks of monitoring saw of the catalogue and of the columns of users (`monitoring.looks`)."""
        return self.root / "watched"

    @property
    def model_name(self) -> str:
        """The name of the shop's bundles in BentoML's model store; `core.promotions` says which is in service."""
        return f"sommelier-{self.shop}"
