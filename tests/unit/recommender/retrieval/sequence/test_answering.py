"""The sequence model in few steps answers as the model itself."""

import pytest
import torch

from recommender.retrieval.sequence.answering import SequenceAnswers
from recommender.retrieval.sequence.model import SequenceModel, SequenceShape

N_ITEMS = 12
HISTORIES = {
    "one": [[3, 5, 1]],
    "one item": [[7]],
    "of one length": [[1, 2, 3], [4, 5, 6]],
    "of many lengths": [[0, 0, 0, 9], [0, 1, 2, 3], [4, 5, 6, 7], [0, 0, 11, 12]],
}


@pytest.mark.parametrize("histories", HISTORIES.values(), ids=HISTORIES)
@pytest.mark.parametrize("n_heads", [1, 2])
@pytest.mark.parametrize("filter_share", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("n_blocks", [1, 3])
def test_histories_mean_what_they_mean_to_the_model(histories, n_heads, filter_share, n_blocks) -> None:
    torch.manual_seed(2)
    shape = SequenceShape(
        n_items=N_ITEMS, text_width=6, width=8, n_blocks=n_blocks, n_heads=n_heads, max_history=5, use_ids=True,
        use_text=True, filter_share=filter_share,
    )  # fmt: skip
    learned = torch.ones(N_ITEMS + 1, dtype=torch.bool)
    learned[[0, 4]] = False
    model = SequenceModel(shape, torch.randn(N_ITEMS + 1, 6), learned)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.eval()
    rows = torch.tensor(histories)
    with torch.inference_mode():
        expected, found = model.expect(rows), SequenceAnswers(model).expect(rows)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
