import copy
import json
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from core.errors import SettingsError
from recommender.errors import BundleError
from recommender.fitting.tensors import save_tensors
from recommender.inputs.ids import IdMap
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.packing import pack
from recommender.inputs.sequences import sequence_input
from recommender.inputs.user import UserState
from recommender.retrieval.sequence.blocks import low_pass_basis
from recommender.retrieval.sequence.model import (
    SequenceEnsemble,
    SequenceModel,
    SequenceShape,
    load_sequence_model,
)

N_ITEMS, TEXT_WIDTH = 12, 6
NO_CATALOGUE: Any = None  # the model reads the vectors alone
SHAPE = SequenceShape(
    n_items=N_ITEMS, text_width=TEXT_WIDTH, width=8, n_blocks=2, n_heads=2, max_history=5, use_ids=True, use_text=True
)


def text() -> torch.Tensor:
    vectors = torch.randn(N_ITEMS + 1, TEXT_WIDTH, generator=torch.Generator().manual_seed(1))
    vectors = torch.nn.functional.normalize(vectors, dim=-1)
    vectors[0] = 0
    return vectors


def vectors() -> ItemVectors:
    return ItemVectors(NO_CATALOGUE, text())


def learned(*never: int) -> torch.Tensor:
    mask = torch.ones(N_ITEMS + 1, dtype=torch.bool)
    mask[[0, *never]] = False
    return mask


def model(shape: SequenceShape = SHAPE, *never: int, **dropouts: float) -> SequenceModel:
    torch.manual_seed(2)
    return SequenceModel(shape, text()[:, : shape.text_width], learned(*never), **dropouts)


def with_changes(**changes: object) -> SequenceShape:
    return SequenceShape(**{**SHAPE.__dict__, **changes})


def test_input_is_padded_on_the_left_and_cut_to_the_newest():
    ids = IdMap(("a", "b", "c", "d"))
    users = [UserState.from_history(list(items)) for items in ("ab", "zcz", "", "abcd")]
    assert sequence_input(users, ids, max_history=3).tolist() == [[0, 1, 2], [0, 0, 3], [0, 0, 0], [2, 3, 4]]


def test_unknown_items_take_no_place_from_known_ones():
    ids = IdMap(("a", "b"))
    user = UserState.from_history(["a", "b", "x", "y"])
    assert sequence_input([user], ids, max_history=2).tolist() == [[1, 2]]


def test_input_of_cold_users_is_one_column_of_padding():
    assert sequence_input([UserState(), UserState()], IdMap(("a",)), max_history=3).tolist() == [[0], [0]]
    assert sequence_input([], IdMap(("a",)), max_history=3).shape == (0, 1)


def test_attention_does_not_look_ahead():
    net = model(with_changes(filter_share=0.0)).eval()
    x = torch.randn(4, 8)
    changed = torch.cat([x[:3], torch.randn(1, 8)])
    before, after = (net.blocks[0](rows, ((1, 4),), None) for rows in (x, changed))
    torch.testing.assert_close(before[:3], after[:3])
    assert not torch.allclose(before[3], after[3])


def test_packed_with_others_a_history_means_the_same():
    net = model().eval()
    rows = [torch.tensor(row) for row in ([1, 2, 3], [4], [5, 6, 7], [8, 9], [3, 2, 1, 4, 5])]
    packed = pack(rows)
    assert packed.groups == ((1, 1), (1, 2), (2, 3), (1, 5))
    alone = torch.cat([net(pack([row])) for row in rows])
    torch.testing.assert_close(net(packed), alone)
    padded = torch.stack([F.pad(row, (5 - len(row), 0)) for row in rows])
    torch.testing.assert_close(net.expect(padded), alone)


def test_a_block_asked_for_the_newest_answers_as_one_asked_for_all():
    net, packed = model().eval(), pack([torch.tensor([1, 2, 3]), torch.tensor([4, 5]), torch.tensor([6])])
    newest, x = torch.nonzero(packed.places == 0).flatten(), torch.randn(6, 8)
    block = net.blocks[1]
    torch.testing.assert_close(block(x, packed.groups, newest), block(x, packed.groups, None)[newest])


@pytest.mark.parametrize("n_frequencies", [1, 3, 26, 400])
@pytest.mark.parametrize("window", [50, 7])
def test_the_low_pass_is_that_of_a_fourier_transform_of_the_padded_window(n_frequencies, window):
    basis = low_pass_basis(window, n_frequencies)
    for length in {1, 4, window}:
        x = torch.randn(length, 3)
        spectrum = torch.fft.rfft(F.pad(x, (0, 0, window - length, 0)), dim=0)
        spectrum[n_frequencies:] = 0
        expected = torch.fft.irfft(spectrum, n=window, dim=0)[-length:]
        torch.testing.assert_close(basis[-length:] @ (basis[-length:].T @ x), expected, atol=1e-5, rtol=1e-5)


def test_a_block_is_attention_and_filter_of_a_padded_batch():
    net = model(with_changes(filter_share=0.3, filter_frequencies=2)).eval()
    rows = [torch.tensor([1, 2, 3]), torch.tensor([4, 5])]
    block, groups, window = net.blocks[0], pack(rows).groups, SHAPE.max_history
    x = torch.randn(5, 8)
    found = block(x, groups, None)
    for start, stop in ((0, 2), (2, 5)):
        one = x[start:stop]
        q = block.query(one).view(len(one), 2, 4).transpose(0, 1)
        k, v = block.key_value(one).view(len(one), 2, 2, 4).permute(1, 2, 0, 3)
        scores = (q @ k.transpose(1, 2) / 2).masked_fill(~torch.ones(len(one), len(one)).tril().bool(), -torch.inf)
        seen = block.attention_out((scores.softmax(-1) @ v).transpose(0, 1).reshape(len(one), 8))
        spectrum = torch.fft.rfft(F.pad(one, (0, 0, window - len(one), 0)), dim=0)
        spectrum[2:] = 0
        low = torch.fft.irfft(spectrum, n=window, dim=0)[-len(one) :]
        passed = low + block.high_pass**2 * (one - low)
        mixed = 0.3 * block.filter_norm(one + passed) + 0.7 * block.attention_norm(one + seen)
        expected = block.feed_norm(mixed + block.feed_out(F.gelu(block.feed_in(mixed))))
        torch.testing.assert_close(found[start:stop], expected)


@pytest.mark.parametrize("filter_share", [0.0, 1.0])
def test_attention_and_filter_can_each_stand_alone(filter_share):
    net = model(with_changes(filter_share=filter_share, filter_frequencies=2)).eval()
    names = {name.split(".")[2] for name, _ in net.named_parameters() if name.startswith("blocks.")}
    assert ("query" in names, "high_pass" in names) == (filter_share < 1, filter_share > 0)
    # Both read more than the newest item.
    assert not torch.allclose(net.expect(torch.tensor([[1, 2, 3]])), net.expect(torch.tensor([[9, 2, 3]])))


def test_the_order_of_a_history_matters():
    net = model().eval()
    assert not torch.allclose(net.expect(torch.tensor([[1, 2, 3]])), net.expect(torch.tensor([[2, 1, 3]])))


def test_an_item_that_was_never_learned_is_its_text_alone():
    net = model(SHAPE, 7).eval()
    text_alone = net.text_projection(net.text)
    torch.testing.assert_close(net.item_vectors()[7], text_alone[7])
    assert not torch.allclose(net.item_vectors()[6], text_alone[6])


def test_id_dropout_leaves_the_text_and_only_in_training():
    net = model(SHAPE, id_dropout=0.5)
    net.train()
    text_alone, items = net.text_projection(net.text), torch.full((400,), 3)
    dropped = (net.item_vectors(items) - text_alone[3]).abs().amax(dim=1) < 1e-7
    assert 120 < int(dropped.sum()) < 280
    net.eval()
    torch.testing.assert_close(net.item_vectors(items), net.item_vectors()[items])


@pytest.mark.parametrize(("use_ids", "use_text"), [(True, False), (False, True)])
def test_either_part_can_be_switched_off(use_ids, use_text):
    width = TEXT_WIDTH if use_text else 0
    net = model(with_changes(use_ids=use_ids, use_text=use_text, text_width=width)).eval()
    assert hasattr(net, "id_vectors") is use_ids
    assert hasattr(net, "text_projection") is use_text
    assert torch.isfinite(net.expect(torch.tensor([[0, 1, 2]]))).all()


def test_items_without_any_vector_are_refused():
    with pytest.raises(SettingsError, match="use_ids=False, use_text=False"):
        model(with_changes(use_ids=False, use_text=False, text_width=0))


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(SettingsError, match="width=8, n_heads=3"):
        model(with_changes(n_heads=3))


def test_saved_and_loaded_it_predicts_the_same(tmp_path):
    net = model(SHAPE, 7).eval()
    net.save(tmp_path)
    again = load_sequence_model(tmp_path, vectors())
    history = torch.tensor([[0, 1, 7], [4, 5, 6]])
    assert torch.equal(net.expect(history), again.expect(history))
    assert torch.equal(net.item_vectors(), again.item_vectors())
    assert not again.training


def test_text_vectors_of_another_catalogue_are_refused(tmp_path):
    model().save(tmp_path)
    with pytest.raises(BundleError, match=r"the item vectors are \(5, 6\)"):
        load_sequence_model(tmp_path, ItemVectors(NO_CATALOGUE, text()[:5]))


@pytest.mark.parametrize("name", ["sequence.safetensors", "sequence.json"])
@pytest.mark.parametrize("content", [None, b"{}", b"garbage"])
def test_a_damaged_file_is_refused(tmp_path, name, content):
    model().save(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match="Cannot load"):
        load_sequence_model(tmp_path, vectors())


def test_a_component_of_the_model_before_is_refused(tmp_path):
    net = model()
    net.save(tmp_path)
    config = json.loads((tmp_path / "sequence.json").read_text())
    for name in ("filter_share", "filter_frequencies"):
        del config[name]
    (tmp_path / "sequence.json").write_text(json.dumps(config))
    before = {name: weight for name, weight in net.state_dict().items() if not name.startswith("blocks.")}
    save_tensors(tmp_path / "sequence.safetensors", before)
    with pytest.raises(BundleError, match="that belong together"):
        load_sequence_model(tmp_path, vectors())


def test_several_models_score_by_the_mean_of_their_scores_and_are_read_again(tmp_path):
    models = [model().eval(), model(SHAPE).eval()]
    with torch.no_grad():
        models[1].positions.add_(torch.randn(5, 8))
        models[0].popularity_weight.fill_(2.0)
    SequenceEnsemble(models).save(tmp_path)
    both, history = load_sequence_model(tmp_path, vectors()), torch.tensor([[0, 1, 7], [4, 5, 6]])
    each = [one.expect(history) @ one.item_vectors().T for one in models]
    assert not torch.allclose(*each)
    torch.testing.assert_close(both.expect(history) @ both.item_vectors().T, (each[0] + each[1]) / 2)
    assert float(both.popularity_weight) == 2
    assert not both.training


def test_what_several_models_have_not_learned_is_said_in_one_place():
    ensemble = SequenceEnsemble([model(), model()])
    copied = copy.deepcopy(ensemble)
    copied.learned[3] = False
    assert [bool(one.learned[3]) for one in copied.models] == [False, False]
    assert ensemble.learned[3]
