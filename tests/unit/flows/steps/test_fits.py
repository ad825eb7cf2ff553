"""What decides a fit beside its settings: the files of a model that the settings name."""

from core.settings.models import LanguageModelWriterSettings, SmallWriterSettings
from core.storage import file_digest
from flows.steps.fits import model_digest
from recommender.encoders.embedded_model import find_weights


def test_a_model_that_changes_in_its_folder_is_another_input(tmp_path):
    (tmp_path / "part").mkdir()
    weights = tmp_path / "part" / "model.safetensors"
    weights.write_bytes(b"one")
    settings = LanguageModelWriterSettings(model=str(tmp_path))
    before = model_digest(settings)
    assert model_digest(settings) == before != ""
    weights.write_bytes(b"two")
    assert model_digest(settings) != before


def test_the_embedded_language_model_is_known_by_its_weights():
    digest = model_digest(LanguageModelWriterSettings(model="smollm2"))
    assert digest == file_digest(find_weights().file)


def test_a_packaged_model_a_name_and_none_have_no_files_of_their_own(tmp_path):
    assert model_digest(SmallWriterSettings()) == ""
    assert model_digest(LanguageModelWriterSettings(model="someone/model")) == ""
    assert model_digest(LanguageModelWriterSettings(model=str(tmp_path / "absent"))) == ""
