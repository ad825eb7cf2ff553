import pytest
import torch

from recommender.fitting.schedule import rate_share, warmed_up


def rates(n_steps: int) -> list[float]:
    """The rate of every batch, of an optimizer whose rate is 2."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = warmed_up(optimizer, n_steps)
    found = []
    for _ in range(n_steps + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_up_in_a_tenth_of_the_steps_and_down_to_nothing_at_the_last():
    found = rates(40)
    assert found[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert found[4:] == pytest.approx([2.0 * (40 - step) / 36 for step in range(4, 41)])
    assert found[40] == 0.0


@pytest.mark.parametrize("n_steps", [1, 2, 9])
def test_a_short_training_has_no_batch_without_a_rate(n_steps: int):
    found = rates(n_steps)
    assert found[0] == 2.0
    assert all(rate > 0 for rate in found[:n_steps])


def test_a_constant_stretch_lies_before_the_descent_to_the_final_share():
    shares = [rate_share(step, 2, 6, 10, final=0.2) for step in range(13)]
    assert shares[:7] == [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert shares[7:11] == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert shares[11:] == pytest.approx([0.2, 0.2]), "nor below it afterwards"
