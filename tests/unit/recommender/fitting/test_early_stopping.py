import math

import pytest
import torch

from recommender.errors import NotFinite
from recommender.fitting.early_stopping import EarlyStopping, weights_of


def run(best: EarlyStopping[str], values: list[float]) -> int:
    """Epochs until it is over; each one's state is its number."""
    for epoch, value in enumerate(values, start=1):
        if best.is_beaten_by(value):
            best.keep(epoch, value, f"epoch {epoch}")
        if best.is_over(epoch):
            return epoch
    return len(values)


def test_the_best_is_kept_and_patience_ends_the_rest():
    best = EarlyStopping(-math.inf, "start", patience=2)
    assert run(best, [0.1, 0.3, 0.2, 0.25, 0.9]) == 4
    assert (best.step, best.value, best.state) == (2, 0.3, "epoch 2")


def test_of_equals_the_first_is_kept():
    best = EarlyStopping(-math.inf, "start", patience=3)
    assert run(best, [0.3, 0.3, 0.3, 0.3]) == 4
    assert best.step == 1


def test_losses_fall_and_the_start_may_be_the_best():
    best = EarlyStopping(1.0, "start", patience=2, lower_is_better=True)
    assert run(best, [1.2, 1.0, 0.5]) == 2
    assert (best.step, best.value, best.state) == (0, 1.0, "start")
    best = EarlyStopping(1.0, "start", patience=2, lower_is_better=True)
    assert run(best, [1.2, 0.9, 0.8]) == 3
    assert (best.step, best.state) == (3, "epoch 3")


def test_a_better_figure_starts_the_patience_anew_and_none_is_never_over():
    assert run(EarlyStopping(-math.inf, "start", patience=2), [0.1, 0.0, 0.2, 0.1, 0.3, 0.2, 0.1]) == 7
    best = EarlyStopping(-math.inf, "start")
    assert run(best, [0.5] + [0.1] * 50) == 51
    assert best.step == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_no_number_ends_the_fit(value):
    for lower in (False, True):
        best = EarlyStopping(0.5, "start", lower_is_better=lower, step=4, part="pair scorer")
        with pytest.raises(NotFinite, match=rf"Cannot fit pair scorer: loss={value}, .*after the best of step 4"):
            best.is_beaten_by(value)


def test_kept_weights_and_buffers_stay_as_they_were():
    module = torch.nn.BatchNorm1d(2)
    kept = weights_of(module)
    with torch.no_grad():
        module.weight.fill_(7.0)
        module.running_mean.fill_(3.0)
    assert kept["weight"].tolist() == [1.0, 1.0]
    assert kept["running_mean"].tolist() == [0.0, 0.0]
    module.load_state_dict(kept)
    assert module.weight.tolist() == [1.0, 1.0]
