"""Where models compute: what a setting stands for, and that every model computes where it is put.

There need not be a GPU: torch's meta device holds shapes and no numbers, and is another one than the CPU.
"""

import ast
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.fx.experimental import _config as meta_settings
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from core.errors import SettingsError
from core.settings.models import NeighbourSettings
from recommender.fitting import device as devices
from recommender.fitting.context import FitContext
from recommender.fitting.device import autocast, choose_dtype, choose_large_dtype, moved, resolve_device
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import read_queries
from recommender.inputs.sequences import read_sequences
from recommender.retrieval.generative.ranker import GenerativeRanker
from recommender.retrieval.generative.search import search
from recommender.retrieval.generative.training import fit_generative, next_code_losses
from recommender.retrieval.neighbours import NeighbourModel
from recommender.retrieval.sequence.examples import Examples
from recommender.retrieval.sequence.model import SequenceModel, SequenceShape
from recommender.retrieval.sequence.training import learned_items, next_item_loss
from recommender.scoring.factors import fit_factors
from tests.unit.recommender.retrieval.generative.tiny_model import QUICK, random_model, tiny_vectors
from tests.unit.recommender.scoring.test_factors import N_ITEMS, made_ratings
from tests.unit.recommender.scoring.test_scorer import ITEMS, USER, VECTORS, made_scorer
from tests.unit.recommender.tiny_shop import save_random_vectors, write_training_set

RECOMMENDER = Path(devices.__file__).parents[1]


@pytest.mark.parametrize(
    ("wanted", "has_gpu", "resolved"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_auto_is_a_gpu_where_there_is_one(monkeypatch, wanted, has_gpu, resolved):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    assert resolve_device(wanted) == resolved


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [({"avx512_bf16": True}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16), ({}, torch.float32)],
)
def test_large_models_compute_in_bfloat16_where_the_cpu_has_it_in_any_form(monkeypatch, capabilities, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert choose_large_dtype("auto")[0] == dtype
    assert choose_large_dtype("float32")[0] == torch.float32
    assert choose_large_dtype("bfloat16")[0] == torch.bfloat16


@pytest.fixture(autouse=True)
def fast_path():
    """What choosing a GPU sets for the whole process is not set when a test begins, and does not outlast it."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(True)
    yield
    torch.backends.mha.set_fastpath_enabled(before)


def test_products_on_a_gpu_are_the_same_every_time(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    resolve_device("cpu")
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    resolve_device("cuda")
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8", "torch's deterministic algorithms refuse cuBLAS without"


def test_a_gpu_computes_gelu_as_it_was_trained(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    resolve_device("cpu")
    assert torch.backends.mha.get_fastpath_enabled()
    resolve_device("cuda")
    assert not torch.backends.mha.get_fastpath_enabled(), "fused encoder layers take tanh for GELU's own curve"


def test_a_gpu_that_is_not_there_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match=r"serving\.device=cuda, expected a CUDA GPU .*Set serving\.device=cpu"):
        resolve_device("cuda", "serving.device")


def test_a_gpu_computes_in_bfloat16_where_it_has_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert choose_dtype("auto", "cuda") == (torch.bfloat16, "bfloat16 (the GPU has bfloat16)")
    assert choose_dtype("float32", "cuda")[0] == torch.float32
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert choose_dtype("auto", "cuda") == (torch.float32, "float32 (the GPU has no bfloat16)")


def test_autocast_is_of_the_device():
    with autocast("cpu", torch.bfloat16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with autocast("cpu", torch.float32):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_a_record_is_moved_with_its_tensors_alone():
    @dataclass(frozen=True)
    class Record:
        name: str
        values: torch.Tensor

    there = moved(Record("a", torch.ones(2)), "meta")
    assert (there.name, there.values.device.type) == ("a", "meta")


# `cuda` and `cpu` are said where a device is chosen, and where what is computed leaves torch.
ALLOWED = {"fitting/device.py", "fitting/context.py"}


def test_nothing_else_names_a_device():
    found = [
        f"{file.relative_to(RECOMMENDER)}:{number}: {line.strip()}"
        for file in sorted(RECOMMENDER.rglob("*.py"))
        if str(file.relative_to(RECOMMENDER)) not in ALLOWED
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(r"""autocast\(["']|\.cuda\(|device=["']|\.to\(["'](cpu|cuda)|torch\.device\(""", line)
    ]
    assert not found


NOWHERE = torch.device("meta")


# What computes on the device of its weights, and the functions there that make tensors before anything is moved.
COMPUTING = {
    "encoders/encoder.py": set(),
    "retrieval/generative/model.py": {"__init__", "right_padded"},
    "retrieval/generative/search.py": set(),
    "retrieval/generative/trie.py": {"__init__", "totals"},
    "retrieval/sequence/blocks.py": {"__init__", "low_pass_basis"},
    "retrieval/sequence/model.py": {"__init__"},
    "scoring/scorer.py": {"__init__"},
}
MAKERS = {"arange", "empty", "full", "ones", "rand", "randn", "randperm", "tensor", "zeros", "from_numpy"}


@pytest.mark.parametrize("name", COMPUTING)
def test_a_tensor_that_is_made_on_the_way_is_made_where_the_weights_lie(name):
    tree = ast.parse((RECOMMENDER / name).read_text(encoding="utf-8"))
    functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name not in COMPUTING[name]]
    calls = [call for function in functions for call in ast.walk(function) if isinstance(call, ast.Call)]
    made = [call for call in calls if re.fullmatch(rf"torch\.({'|'.join(MAKERS)})", ast.unparse(call.func))]
    assert not [ast.unparse(call) for call in made if "device" not in {keyword.arg for keyword in call.keywords}]


class OneDevice(TorchDispatchMode):
    """Refuses, as a GPU does, an operation whose tensors lie on several devices; numbers may lie anywhere."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor) and one.dim()]
        if "copy" not in str(func) and len({one.device for one in tensors}) > 1:
            raise RuntimeError(f"{func}: tensors on several devices")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def strict():
    with meta_settings.patch(meta_nonzero_assume_all_nonzero=True), OneDevice():
        yield


def test_a_product_of_two_devices_is_refused(strict):
    with pytest.raises(RuntimeError, match="several devices"):
        torch.ones(2, device=NOWHERE) + torch.ones(2)


def test_generative_retrieval_computes_where_its_weights_lie(tmp_path, strict):
    vectors = tiny_vectors(tmp_path)
    model = random_model(vectors).to(NOWHERE)
    history = torch.tensor([[1, 2, 0], [3, 4, 5]]).to(NOWHERE)
    allowed = torch.ones(2, len(vectors.ids), dtype=torch.bool, device=NOWHERE)
    items, scores = search(model, history, 4, allowed)
    assert items.device == scores.device == NOWHERE
    assert next_code_losses(model.train(), history, torch.zeros(2, dtype=torch.int64, device=NOWHERE)).device == NOWHERE


def test_the_pair_scorer_computes_where_its_weights_lie(strict):
    scorer = made_scorer(VECTORS)
    pairs = moved(scorer.input([USER] * len(ITEMS), ITEMS), NOWHERE)
    network = scorer.network.to(NOWHERE)
    items = network.project(VECTORS.text.to(NOWHERE))
    assert {answer.device for answer in network(pairs, items)} == {NOWHERE}


def test_what_is_fitted_on_a_gpu_can_be_computed_in_bfloat16(tmp_path):
    """As it is there; a CPU computes in it too, more slowly."""
    vectors = tiny_vectors(tmp_path)
    sequences = read_sequences(tmp_path / "training", vectors.ids, 6)
    batch = Examples(sequences).of(list(range(8)))
    shape = SequenceShape(len(vectors.ids), vectors.text.shape[1], 16, 2, 2, 6, True, True, 0.5, 2)
    torch.manual_seed(0)
    sequence = SequenceModel(shape, vectors.text, learned_items(sequences, len(vectors.ids)))
    generative = random_model(vectors)
    history, contexts = torch.tensor([[1, 2, 0], [3, 4, 5]]), torch.zeros(2, dtype=torch.int64)

    def losses(dtype):
        with autocast("cpu", dtype):
            candidates = torch.nonzero(sequence.learned).flatten()
            sampled, full = (next_item_loss(sequence, batch, candidates, n) for n in (5, 0))
            codes = next_code_losses(generative, history, contexts).sum()
        (sampled + full + codes).backward()
        return [float(sampled.detach()), float(full.detach()), float(codes.detach())]

    torch.manual_seed(1)
    exact = losses(torch.float32)
    torch.manual_seed(1)
    assert losses(torch.bfloat16) == pytest.approx(exact, rel=0.05)


with_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@with_gpu
def test_what_a_gpu_learns_of_neighbours_and_ratings_is_what_the_cpu_learns():
    sequences = [np.random.default_rng(n).permutation(12)[:5] + 1 for n in range(40)]
    here, there = (NeighbourModel.fit(sequences, 12, NeighbourSettings(), device) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(here.scores([[1, 2]]), there.scores([[1, 2]]), atol=1e-4)
    known, _ = made_ratings()
    ours, theirs = (fit_factors(known, N_ITEMS, 6, 20, 1, device) for device in ("cpu", "cuda"))
    torch.testing.assert_close(ours.vectors, theirs.vectors, atol=1e-6, rtol=1e-4)
    assert theirs.vectors.device.type == "cpu"


@with_gpu
def test_what_a_gpu_fits_ranks_as_well_and_answers_anywhere(tmp_path):
    assert resolve_device("cuda") == "cuda"
    training, vectors = write_training_set(tmp_path / "training", n_users=100), tmp_path / "vectors"
    save_random_vectors(training, vectors)
    summaries = {
        device: fit_generative(FitContext(training, 1, 5, 1, device=device), vectors, tmp_path / device, QUICK, 6)
        for device in ("cpu", "cuda")
    }
    figures = [summary.metrics["ndcg_at_5"] for summary in summaries.values()]
    assert figures[0] == pytest.approx(figures[1], abs=0.1)
    users, items = read_queries(training, "validation").users[:8], ItemVectors.load(vectors)
    here, there = (GenerativeRanker.load(tmp_path / "cuda", items, device).scores(users) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(here, there, atol=1e-3)
