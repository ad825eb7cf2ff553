import json
import random

import numpy as np
import pytest
import torch

from recommender.fitting.determinism import deterministic
from recommender.fitting.summary import FitSummary


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(1))


def test_one_seed_seeds_every_generator():
    with deterministic(seed=5):
        first = draw()
    with deterministic(seed=5):
        again = draw()
    with deterministic(seed=6):
        other = draw()
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_what_was_before_is_put_back_even_after_an_error():
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = draw()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    threads = torch.get_num_threads()

    def stop() -> None:
        with deterministic(seed=5, threads=threads + 1):
            assert torch.get_num_threads() == threads + 1
            assert torch.are_deterministic_algorithms_enabled()
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stop()
    assert draw() == expected
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_summary_says_nothing_of_where_it_lies(tmp_path):
    FitSummary(folder=tmp_path, epochs=3, best_epoch=2, metrics={"ndcg_at_10": 0.5}, seconds=1.5).write(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text()) == {
        "epochs": 3,
        "best_epoch": 2,
        "metrics": {"ndcg_at_10": 0.5},
        "seconds": 1.5,
        "curve": [],
        "choices": {},
        "caps": [],
        "work": None,
    }
