import numpy as np
import pytest

from recommender.encoders.whitening import Whitening
from recommender.errors import BundleError
from recommender.fitting.tensors import save_tensors


def crowded(n: int = 400, width: int = 6) -> np.ndarray:
    """Vectors in a narrow cone, along correlated axes."""
    generator = np.random.default_rng(0)
    return generator.normal(size=(n, width)) @ generator.normal(size=(width, width)) + 20


def test_without_shrinkage_the_covariance_is_the_identity():
    vectors = crowded()
    whitening = Whitening.fit(vectors, shrinkage=0)
    white = (vectors - whitening.mean) @ whitening.projection
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(6), atol=1e-4)


def test_whitened_vectors_have_length_one_and_spread():
    vectors = crowded()
    white = Whitening.fit(vectors).apply(vectors)
    np.testing.assert_allclose(np.linalg.norm(white, axis=1), 1, rtol=1e-5)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert (unit @ unit.T).mean() > 0.9
    assert abs((white @ white.T).mean()) < 0.05


def test_axes_that_hold_nothing_are_not_blown_up():
    vectors = np.random.default_rng(0).normal(size=(3, 6))
    whitening = Whitening.fit(vectors)
    assert np.isfinite(whitening.apply(vectors)).all()
    assert np.linalg.norm(whitening.projection, axis=0).max() < 100


def test_equal_vectors_and_no_vectors_do_no_harm():
    assert np.isfinite(Whitening.fit(np.ones((4, 3))).apply(np.ones((4, 3)))).all()
    assert np.isfinite(Whitening.fit(np.ones((0, 3))).apply(np.ones((2, 3)))).all()


def test_saved_and_loaded_it_gives_the_same_vectors(tmp_path):
    vectors = crowded()
    whitening = Whitening.fit(vectors)
    whitening.save(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(Whitening.load(tmp_path / "w.safetensors").apply(vectors), whitening.apply(vectors))


def test_a_file_that_lacks_a_tensor_is_named(tmp_path):
    save_tensors(tmp_path / "w.safetensors", {"mean": np.zeros(3, dtype=np.float32)})
    with pytest.raises(BundleError, match=r"file=.*w\.safetensors, expected mean and projection, but .* no projection"):
        Whitening.load(tmp_path / "w.safetensors")
