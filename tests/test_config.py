"""Settings: profiles, overrides and what their errors say."""

import dataclasses
import json

import pytest

from datum.config import DEMO, PAPER, PROFILES, Settings, describe, load_settings, to_dict
from datum.errors import InputError
from datum.methods import METHODS, Times
from datum.overrides import changed


def test_an_override_changes_one_setting_and_leaves_the_profile_alone() -> None:
    settings = load_settings("paper", ["generation.count=7"])
    assert settings.generation.count == 7
    assert dataclasses.replace(settings.generation, count=PAPER.generation.count) == PAPER.generation
    assert settings.adaptation == PAPER.adaptation


@pytest.mark.parametrize(
    ("override", "stage", "key", "value"),
    [
        ("adaptation.learning_rate=1e-4", "adaptation", "learning_rate", 1e-4),
        ("adaptation.learning_rate=1", "adaptation", "learning_rate", 1.0),
        ("adaptation.source_scale=[256, 128]", "adaptation", "source_scale", (256, 128)),
        ("adaptation.source_scale=null", "adaptation", "source_scale", None),
        ("personalization.mixed_precision=no", "personalization", "mixed_precision", "no"),
        (
            "personalization.instance_prompt=a photo of sks",
            "personalization",
            "instance_prompt",
            "a photo of sks",
        ),
        ("generation.prompt_classes=[cars]", "generation", "prompt_classes", ("cars",)),
        ("run.seeds=[4, 5]", "run", "seeds", (4, 5)),
    ],
)
def test_values_are_read_in_yaml_notation_and_typed(
    override: str, stage: str, key: str, value: object
) -> None:
    found = getattr(getattr(load_settings("demo", [override]), stage), key)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("generation.cout=5", "did you mean count"),
        ("genration.count=5", "did you mean generation"),
        ("generation.count=many", "expected a whole number"),
        ("generation.count=1.5", "expected a whole number"),
        ("adaptation.source_scale=[1]", "--set adaptation.source_scale"),
        ("generation.precision=fp8", "expected one of fp16, bf16, fp32"),
        ("count=5", "expected stage.key=value"),
        ("generation.count", "expected stage.key=value"),
    ],
)
def test_a_wrong_override_fails_with_one_line_that_says_what_was_expected(
    override: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as failure:
        load_settings("demo", [override])
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_changes_are_settings_of_every_profile(profile: str, name: str) -> None:
    """Each is a value that a user could set as well."""
    settings = to_dict(load_settings(profile, [f"run.method={name}"]))
    given = [
        f"{setting}={_as_text(settings[setting.split('.')[0]][setting.split('.')[1]])}"
        for setting in METHODS[name].settings
    ]
    expected = to_dict(load_settings(profile, [*given, f"run.method={name}"]))
    assert settings == expected
    changed_alone = to_dict(load_settings(profile, given))
    assert settings["adaptation"] == changed_alone["adaptation"]


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def test_what_a_user_sets_goes_before_what_the_method_changes() -> None:
    reference = load_settings("paper", ["run.method=source-only-reference"]).adaptation
    assert (reference.rare_class_sampling, reference.photometric_distortion) == (False, True)
    given = ["adaptation.rare_class_sampling=true", "run.method=source-only-reference"]
    assert load_settings("paper", given).adaptation == dataclasses.replace(
        reference, rare_class_sampling=True
    )


def test_the_last_method_that_is_named_counts() -> None:
    found = load_settings("demo", ["run.method=dacs", "run.method=daformer"])
    assert found == load_settings("demo")


def test_a_size_is_changed_in_proportion_to_the_profile() -> None:
    changes = {"adaptation.crop": Times(2), "evaluation.scale": Times(2), "adaptation.resolution_factor": 2}
    assert changed(PAPER, changes).adaptation.crop == 1024
    assert changed(DEMO, changes).evaluation.scale == (1024, 256)
    assert changed(DEMO, changes).adaptation.resolution_factor == 2


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="demo, paper"):
        load_settings("tiny")


def test_every_setting_of_every_stage_has_a_docstring_for_the_help() -> None:
    for stage in dataclasses.fields(Settings):
        section = getattr(PAPER, stage.name)
        documented = {key for key, _, _ in describe(section)}
        assert documented == {field.name for field in dataclasses.fields(section)}


def test_the_paper_profile_holds_the_published_values() -> None:
    assert (PAPER.personalization.steps, PAPER.personalization.learning_rate) == (1000, 5e-6)
    assert (PAPER.generation.count, PAPER.generation.inference_steps) == (2975, 50)
    assert (PAPER.adaptation.iterations, PAPER.adaptation.batch_size, PAPER.adaptation.crop) == (
        40_000,
        2,
        512,
    )
    assert PAPER.adaptation.pseudo_threshold == 0.968
    assert PAPER.run.seeds == (1, 2, 3)


@pytest.mark.parametrize("settings", PROFILES.values())
def test_settings_become_plain_yaml(settings: Settings) -> None:
    import yaml

    plain = to_dict(settings)
    assert yaml.safe_load(yaml.safe_dump(plain)) == plain


def test_the_demo_generates_from_a_checkpoint_that_its_personalization_writes() -> None:
    assert DEMO.generation.checkpoint_step % DEMO.personalization.checkpoint_every == 0
    assert DEMO.generation.checkpoint_step <= DEMO.personalization.steps


@pytest.mark.parametrize(
    "override, message",
    [
        ("datasets.height=0", r"datasets\.height=0: expected 1 or more"),
        ("evaluation.scale=[64, 0]", r"evaluation\.scale=\[64, 0\]: expected 1 or more"),
        ("adaptation.workers=-1", r"adaptation\.workers=-1: expected 0 or more"),
        ("run.seeds=[-1]", r"run\.seeds=\[-1\]: expected 0 or more"),
        ("adaptation.learning_rate=-1e-3", r"adaptation\.learning_rate=-1e-3: expected"),
        ("generation.guidance_scale=.nan", r"generation\.guidance_scale=\.nan: expected"),
    ],
)
def test_numbers_that_count_nothing_are_refused(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_settings("demo", [override])


def test_switches_go_off_and_some_numbers_may_be_zero() -> None:
    off = ["personalization.train_text_encoder=false", "adaptation.workers=0", "adaptation.dropout=0"]
    settings = load_settings("paper", off)
    assert not settings.personalization.train_text_encoder
    assert (settings.adaptation.workers, settings.adaptation.dropout) == (0, 0.0)


def test_the_profiles_themselves_hold_no_number_that_would_be_refused() -> None:
    for settings in PROFILES.values():
        for stage, section in to_dict(settings).items():
            for key, value in section.items():
                if value is not None:
                    text = value if isinstance(value, str) else json.dumps(value)
                    read = getattr(load_settings("demo", [f"{stage}.{key}={text}"]), stage)
                    assert getattr(read, key) == getattr(getattr(settings, stage), key)


@pytest.mark.parametrize(
    "text", ["models/sd #2", "no", "1e3", "2020-01-01", "'a photo'", "a: b", "[x", "", " x ", "!!int 3", "*a"]
)
def test_a_text_is_taken_as_it_is_written(text: str) -> None:
    assert load_settings("paper", [f"personalization.base_model={text}"]).personalization.base_model == text


def test_the_texts_of_a_list_stay_texts() -> None:
    given = "[no, 12, 1e3, 'a, b', ~]"
    read = load_settings("paper", [f"generation.prompt_classes={given}"]).generation.prompt_classes
    assert read == ("no", "12", "1e3", "a, b", "~")


@pytest.mark.parametrize(
    "override",
    [
        "generation.count=!!int ''",
        "personalization.train_text_encoder=!!bool x",
        "generation.guidance_scale=.inf",
        "generation.guidance_scale=1e999",
        f"generation.count={10**400}",
        f"generation.count={'9' * 5000}",
        f"run.seeds=[{2**53}]",
        "run.seeds=[1, [2]]",
        "run.seeds=" + "[" * 1000,
        "run.seeds=*a",
        "run.seeds=[&a 1, *b]",
        "evaluation.scale={a: 1}",
    ],
)
def test_an_odd_value_is_refused_in_a_short_line(override: str) -> None:
    with pytest.raises(InputError) as refused:
        load_settings("paper", [override])
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300
