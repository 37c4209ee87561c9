"""The parameters of a run, refused before any data is moved where they cannot work."""

from pathlib import Path
from typing import Any

import pytest

from components.check import check_parameters
from components.installation import on_gpus, on_one_machine
from datum.errors import InputError
from datum.store import open_store


def check(**changes: Any) -> None:
    parameters: dict[str, Any] = {
        "benchmark": "gta-to-cityscapes",
        "draws": True,
        "method": "daformer",
        "encoder": "mit-b5",
        "overrides": [],
        "variants": [],
        "seeds": [1, 2, 3],
        "named": [],
        "source": "s3://data/gta",
        "target": "s3://data/cityscapes",
        "base_model": "",
        "pretrained_encoder": "s3://data/mit_b5.pth",
        "inputs": [],
        "resume_from": "",
        "title": "",
    }
    installation = on_one_machine("paper")
    installation |= {name: changes.pop(name) for name in list(changes) if name in installation}
    check_parameters(installation=installation, **{**parameters, **changes})


def test_the_defaults_of_both_profiles_are_accepted() -> None:
    check()
    check(profile="demo", encoder="resnet-18-half", source="", target="", pretrained_encoder="")
    check(profile="paper", seeds=[], pretrained_encoder="")


def test_a_run_may_use_fewer_gpus_than_its_pods_have_or_larger_batches() -> None:
    check(overrides=[*on_gpus(4), "adaptation.processes=2"])
    check(overrides=[*on_gpus(4), "adaptation.batch_size=8"])
    assert on_gpus(0) == on_gpus(1) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmark": "kitti"}, "run.benchmark: found 'kitti', expected one of gta-to-cityscapes"),
        ({"method": "magic"}, "run.method: found 'magic'"),
        (
            {"method": "source-only"},
            "found none (by run.method=source-only), and this pipeline trains on",
        ),
        ({"overrides": ["run.target_images=all"]}, "trains on generated; start the pipeline training"),
        ({"overrides": ["run.target_images=none"]}, "daformer trains itself on target images"),
        (
            {"overrides": on_gpus(4)},
            "adaptation.processes=4 (a cluster's gpu_count): cannot share adaptation.batch_size=2 evenly",
        ),
        (
            {"draws": False},
            "this pipeline trains on one-shot, all or none; start the pipeline reproduction, choose "
            'method=source-only or method=one-image, or add "run.target_images=all" to run_overrides',
        ),
        ({"encoder": "vgg"}, "run.encoder: found 'vgg'"),
        ({"profile": "huge"}, "run_installation: found profile='huge', expected demo or paper"),
        ({"keep_state": "never"}, "found keep_state='never', expected on-failure or always"),
        ({"state": 1}, "run_installation: found state=1, expected a text"),
        ({"title": "{{workflow.name}}"}, "where Argo takes {{ for a template"),
        ({"overrides": ["generation.count={{=1}}"]}, "where Argo takes {{ for a template"),
        ({"overrides": ["generation.cuont=3"]}, "did you mean count"),
        ({"variants": ["generation.checkpoint_step=300"]}, "personalization writes no such checkpoint"),
        ({"overrides": ["generation.checkpoint_step=7"]}, "personalization writes no such checkpoint"),
        ({"overrides": ["generation.labels=source"]}, "generation.controlnet: not given, expected the Contr"),
        ({"variants": ["generation.labels=source"]}, "generation.controlnet: not given, expected the Contr"),
        (
            {"overrides": ["generation.labels=source", "run.target_images=all"], "draws": False},
            "generation.labels=source: run.target_images=all draws nothing",
        ),
        ({"named": ["a.png"]}, "found 1 named images for 3 seeds, expected one"),
        ({"target": ""}, "--target: not given"),
        ({"base_model": "no such model"}, "no such folder"),
        ({"pretrained_encoder": ""}, "pretrained_encoder: not given, expected a .pth"),
        ({"pretrained_encoder": "missing.pth"}, "pretrained_encoder missing.pth: no such file"),
        ({"resume_from": "#"}, "resume_from='#': is no run's id"),
        ({"resume_from": "../datasets"}, "is no run's id"),
        ({"source": "s3://data/gta#"}, "s3://data/gta#: has a ? or # in it"),
        ({"target": "s3://data/x/../y"}, "has . or .."),
        ({"base_model": "s3://models/a?b"}, "has a ? or # in it"),
        ({"state": "s3://bucket/a//b"}, "an empty part"),
        ({"inputs": ["ftp://host/mit_b5.pth"]}, "unknown scheme ftp://"),
        ({"pretrained_encoder": "ftp://host/mit_b5.pth"}, "unknown scheme, expected a .pth or .safetensors"),
        (
            {"pretrained_encoder": "published", "encoder": "resnet-18-half"},
            "published: there are none of resnet-18-half",
        ),
        ({"inputs": ["/nowhere/mit_b5.pth"]}, "/nowhere/mit_b5.pth: not there"),
        ({"reports": "ftp://host/reports"}, "unknown scheme ftp://"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        check(**changes)
    assert message in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "weights", ["random", "published", "https://server/mit_b5.pth#sha256=0123abcd", "hf://nvidia/mit-b5"]
)
def test_weights_are_named_as_on_one_machine(weights: str) -> None:
    check(pretrained_encoder=weights, inputs=[weights])


def test_an_experiment_needs_no_weights_by_name() -> None:
    check(method="daformer-gta-mit-b5", pretrained_encoder="")


def test_a_model_in_the_store_is_left_to_the_task_that_fetches_it() -> None:
    check(base_model="s3://models/stable-diffusion-v1-4")


def test_published_one_shot_images_are_looked_for_in_the_target(s3_bucket: str, tmp_path: Path) -> None:
    target = f"s3://{s3_bucket}/cityscapes"
    given: dict[str, Any] = {"named": ["sm-ppm"], "target": target, "seeds": [1, 2, 3, 4, 5]}
    (tmp_path / "image.png").write_bytes(b"png")
    for number in range(5):
        name = f"aachen/aachen_{number:06d}_000019_leftImg8bit.png"
        with pytest.raises(InputError, match=rf"sm-ppm: {name} is not in {target}/leftImg8bit/train"):
            check(**given)
        open_store(target).put(tmp_path / "image.png", f"leftImg8bit/train/{name}")
    check(**given)
    with pytest.raises(InputError, match=r"found 3 seeds, expected a multiple of 5.*SEEDS in settings.env"):
        check(**given | {"seeds": [1, 2, 3]})
    with pytest.raises(InputError, match="sm-ppm: names images of Cityscapes, and no target is given"):
        check(**given | {"source": "", "target": ""})


def test_a_wrong_secret_is_found_before_the_first_stage_needs_it(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mit_b5.pth").write_bytes(b"weights")
    open_store(f"s3://{s3_bucket}/weights").put(tmp_path / "mit_b5.pth", "mit_b5.pth")
    given = {"inputs": [f"s3://{s3_bucket}/weights/mit_b5.pth"]}
    check(**given)
    with pytest.raises(InputError, match=r"b0\.pth: not there"):
        check(inputs=[f"s3://{s3_bucket}/weights/mit_b0.pth"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(InputError, match="check the bucket and the secret"):
        check(**given)
