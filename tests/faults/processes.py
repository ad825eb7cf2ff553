"""Processes that begin with everything imported: each run of a scenario is a fork of one that has done nothing yet."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from flows.environment import QUIET, home_variables

# What the steps import on their way; none of them starts a thread when it is imported.
MODULES = (
    "cli.models", "flows.fine_tune", "flows.forget", "flows.monitor", "flows.pipeline", "flows.promotion.decision",
    "flows.readmit", "flows.refresh_features", "flows.rollback", "flows.tune", "validation.gate",
    "validation.sources.ingest", "features.refresh", "features.training", "features.feast.definitions",
    "features.online", "recommender.retrieval.text.embedding", "recommender.retrieval.sequence.fit",
    "recommender.ranking.blend_training",
    "recommender.retrieval.generative.training", "recommender.scoring.training", "recommender.writing.training",
    "recommender.bundle.assembly", "recommender.bundle.loading", "recommender.evaluation.evaluation",
    "recommender.evaluation.baselines", "recommender.evaluation.report", "recommender.tuning.trial_evaluation",
    "monitoring.drift", "serving.engine", "serving.events.intake", "tests.integration.features.test_repair",
    # What those import only where they use it.
    "evidently.core", "evidently.presets", "evidently.ui.workspace", "evidently.ui.service.storage.local.base",
    "great_expectations.expectations.core", "redis.observability.config", "torch._dynamo", "matplotlib.pyplot",
    "transformers.models.auto", "transformers.models.bert.modeling_bert", "transformers.generation", "accelerate",
    "torch.distributed.checkpoint", "bentoml._internal.cloud.schemas", "implicit.cpu.als", "optuna.storages",
    "adbc_driver_postgresql.dbapi", "psycopg",
)  # fmt: skip


def import_transformers() -> None:
    """Its classes are found by their attributes."""
    import transformers

    assert transformers.AutoModel
    assert transformers.AutoTokenizer
    assert transformers.PreTrainedTokenizerFast


class Died(Exception):
    """A process ended without an answer."""


def prepare(work_dir: Path) -> None:
    """Set the environment of the forks to come and import what they need, once for all of them.

    Tasks run by Prefect's own engine, with its keys and results; only its server is not asked.
    """
    os.environ.update(QUIET)
    os.environ.update(home_variables(work_dir))
    os.environ.update(
        SOMMELIER_WORK_DIR=str(work_dir),
        SOMMELIER_PLATFORM__MIN_FREE_BYTES="0",
        PREFECT_API_URL="http://127.0.0.1:9/api",
        PREFECT_LOGGING_TO_API_ENABLED="false",
        PREFECT_LOGGING_LEVEL="CRITICAL",
        ARROW_DEFAULT_MEMORY_POOL="system",  # jemalloc has a thread of its own
        OPENBLAS_NUM_THREADS="1",
        OMP_NUM_THREADS="1",
        PYTHONWARNINGS="ignore",
    )
    for name in MODULES:
        importlib.import_module(name)
    import_transformers()


def in_fork(work: Callable[[], Any]) -> Any:
    """Do some work in a fork of this process; what it returns, or raises.

    Raises:
        Died: it was killed, or ended by itself.
    """
    read, write = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            answer = pickle.dumps((True, work()))
        except BaseException as error:
            answer = _pickled(error)
        with suppress(BaseException), os.fdopen(write, "wb") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if not answer:
        raise Died(f"status {status}")
    is_well, value = pickle.loads(answer)
    if is_well:
        return value
    raise value


def n_threads() -> int:
    """Threads of this process: a fork takes along only the one that forks."""
    return len(list(Path("/proc/self/task").iterdir()))


def _pickled(error: BaseException) -> bytes:
    error.add_note("".join(traceback.format_exception(error)[-4:]))
    try:
        pickled = pickle.dumps((False, error))
        pickle.loads(pickled)
    except Exception:
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")))
    return pickled
