import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from datum.errors import InputError
from datum.formats.generated import read_manifest
from datum.generation.generate import generate
from datum.generation.shards import merge_shards
from datum.generation_settings import GenerationSettings


@pytest.fixture(scope="module")
def shards(model: Path, settings: GenerationSettings, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The outputs of the three shards of one generation; the last block of the seven images is not full."""
    folder = tmp_path_factory.mktemp("shards")
    outputs = [folder / f"shard{number}" for number in (1, 2, 3)]
    for number, output in enumerate(outputs, start=1):
        generate(model=model, output=output, settings=settings, seed=1, shard=(number, 3))
    return outputs


@pytest.fixture
def own_shards(shards: list[Path], tmp_path: Path) -> list[Path]:
    """Copies of the shards, free to be damaged."""
    return [shutil.copytree(shard, tmp_path / shard.name) for shard in shards]


def test_merged_shards_are_byte_for_byte_the_unsharded_run(
    shards: list[Path], model: Path, settings: GenerationSettings, tmp_path: Path
) -> None:
    generate(model=model, output=tmp_path / "whole", settings=settings, seed=1)
    merge_shards([shards[2], shards[0], shards[1]], tmp_path / "merged")
    merged, whole = tmp_path / "merged", tmp_path / "whole"
    files = sorted(file.relative_to(whole) for file in whole.rglob("*") if file.is_file())
    assert sorted(file.relative_to(merged) for file in merged.rglob("*") if file.is_file()) == files
    assert len(files) == 7 + 2
    # The record says when each was made.
    for file in set(files) - {Path("provenance.json")}:
        assert (merged / file).read_bytes() == (whole / file).read_bytes(), file


def test_every_shard_draws_whole_blocks(shards: list[Path]) -> None:
    indices = [[image.index for image in read_manifest(shard)] for shard in shards]
    assert indices == [[0, 1, 6], [2, 3], [4, 5]]


def test_more_shards_than_blocks_leave_some_without_an_image(
    model: Path, settings: GenerationSettings, tmp_path: Path
) -> None:
    few = dataclasses.replace(settings, count=1)
    outputs = [tmp_path / str(number) for number in (1, 2)]
    for number, output in enumerate(outputs, start=1):
        generate(model=model, output=output, settings=few, seed=1, shard=(number, 2))
    assert [len(read_manifest(output)) for output in outputs] == [1, 0]
    merge_shards(outputs, tmp_path / "merged")
    assert len(read_manifest(tmp_path / "merged")) == 1


def test_a_missing_shard_is_named(shards: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found 1/3, 3/3, expected each of 1/3 to 3/3 once"):
        merge_shards([shards[0], shards[2]], tmp_path / "merged")
    with pytest.raises(InputError, match="found 1/3, 2/3, 2/3, 3/3"):
        merge_shards([*shards, shards[1]], tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []


def test_shards_of_different_seeds_are_refused(
    own_shards: list[Path], model: Path, settings: GenerationSettings, tmp_path: Path
) -> None:
    generate(model=model, output=tmp_path / "other", settings=settings, seed=2, shard=(2, 3))
    with pytest.raises(InputError, match=r"other: differs from .*shard1 in seed"):
        merge_shards([own_shards[0], tmp_path / "other", own_shards[2]], tmp_path / "merged")


def test_a_damaged_or_missing_image_of_a_shard_is_named(own_shards: list[Path], tmp_path: Path) -> None:
    image = own_shards[1] / "images/im_2_p0.png"
    image.write_bytes(image.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"im_2_p0\.png: is not the image of the manifest"):
        merge_shards(own_shards, tmp_path / "merged")
    image.unlink()
    with pytest.raises(InputError, match=r"im_2_p0\.png: is missing"):
        merge_shards(own_shards, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_an_index_that_no_shard_has_is_named(own_shards: list[Path], tmp_path: Path) -> None:
    manifest = own_shards[0] / "manifest.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(line for line in lines if json.loads(line)["index"] != 6))
    with pytest.raises(InputError, match="image 6 does not occur exactly once"):
        merge_shards(own_shards, tmp_path / "merged")


def test_a_folder_that_is_no_finished_shard_is_named(
    shards: list[Path], own_shards: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="absent: is no finished output"):
        merge_shards([shards[0], tmp_path / "absent"], tmp_path / "merged")
    (own_shards[0] / "manifest.jsonl").unlink()
    with pytest.raises(InputError, match=r"shard1/manifest\.jsonl: missing"):
        merge_shards(own_shards, tmp_path / "merged")
    for content, message in (("nonsense\n", "is not JSON"), ('{"index": 0}\n', "is no image record")):
        (own_shards[0] / "manifest.jsonl").write_text(content)
        with pytest.raises(InputError, match=rf"manifest\.jsonl, line 1: {message}"):
            read_manifest(own_shards[0])
