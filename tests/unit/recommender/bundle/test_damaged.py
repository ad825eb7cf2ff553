"""A bundle that is damaged, or is of another layout, is refused and says where."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.storage import file_digest
from recommender.bundle.assembly import BundleError
from recommender.bundle.loading import load_bundle
from recommender.bundle.manifest import SCHEMA_VERSION, read_manifest
from serving.watcher import Promoted, Watcher
from tests.unit.recommender.bundle.workshop import edit_manifest
from tests.unit.serving.processes.slow_loads import loads_at_once


def test_a_missing_bundle_is_named(tmp_path):
    with pytest.raises(BundleError, match="nowhere"):
        load_bundle(tmp_path / "nowhere")


def test_a_manifest_that_is_no_json_is_named(bundle):
    (bundle / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match=r"manifest\.json, expected readable JSON"):
        load_bundle(bundle)


@pytest.mark.parametrize("version", [3, None, "4"])
def test_another_schema_version_is_refused(bundle, version):
    edit_manifest(bundle, schema_version=version)
    with pytest.raises(BundleError, match=f"schema_version={version}, expected {SCHEMA_VERSION}"):
        load_bundle(bundle)


def test_a_manifest_that_is_a_list_is_refused(bundle):
    (bundle / "manifest.json").write_text("[]")
    with pytest.raises(BundleError, match="schema_version=None"):
        load_bundle(bundle)


def test_an_unknown_field_is_refused(bundle):
    edit_manifest(bundle, colour="red")
    with pytest.raises(BundleError, match="colour='red'"):
        load_bundle(bundle)


def test_a_changed_file_is_named(bundle):
    with (bundle / "vectors" / "vectors.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    with pytest.raises(BundleError, match=r"vectors/vectors\.safetensors="):
        load_bundle(bundle)


def test_a_missing_file_is_named(bundle):
    (bundle / "sequence" / "sequence.json").unlink()
    with pytest.raises(BundleError, match=r"sequence/sequence\.json=missing"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    ("file", "tensor"),
    [
        ("vectors/vectors.safetensors", "text"),
        ("sequence/sequence.safetensors", "0.positions"),
        ("blend/neighbours.safetensors", "weights"),
        ("blend/newcomers.safetensors", "shares"),
        ("blend/cold.json", "lift"),
    ],
)
def test_weights_that_are_no_numbers_never_come_into_service(bundle, tmp_path, file, tensor):
    broken = Path(shutil.copytree(bundle, tmp_path / "broken"))
    if file.endswith(".json"):
        (broken / file).write_text('{"text_weight": 0.0, "lift": NaN}')
        named = "it holds NaN"
    else:
        tensors = load_file(broken / file)
        tensors[tensor].view(-1)[-1] = torch.nan
        save_file(tensors, broken / file)
        named = f"{tensor} has 1 numbers that are not finite"
    # As a bundle that was made so: the digests are right.
    edit_manifest(broken, files={name: file_digest(broken / name) for name in read_manifest(broken).files})
    with pytest.raises(BundleError, match=named):
        load_bundle(broken)
    promoted = [Promoted("tiny:1", bundle)]
    watcher = Watcher(
        find=lambda: promoted, load=lambda one: load_bundle(one.folder), poll_s=1.0, loader=loads_at_once()
    )
    watcher.poll()
    promoted = [Promoted("tiny:2", broken), *promoted]
    watcher.poll()
    assert watcher.loaded is not None
    assert watcher.loaded.model == "tiny:1"
    assert named in str(watcher.problem)
