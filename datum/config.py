"""Typed settings of every stage, in one place (those of generation stand in `datum.generation_settings`).

A profile is a whole set of settings: `paper` holds the values of DATUM's and DAFormer's released code,
`demo` the same method at a size that two processor cores finish in minutes. A single setting is changed
with `--set stage.key=value`; an unknown stage or key fails and names the nearest known one.
"""

import dataclasses
import functools
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from datum.errors import InputError
from datum.generation_settings import GenerationSettings
from datum.methods import BENCHMARKS, ENCODERS, METHODS, TargetImages
from datum.overrides import changed, overridden, require_consistent
from datum.values import (
    Least,
    Most,
    NamesInput,
    OneOf,
    Switchable,
    WayOfWorking,
    docstrings,
    marked,
    require_range,
)

MOST_SEED = 2**53 - 1
"""Largest seed: pipelines pass numbers as doubles, which hold no larger ones exactly."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetSettings:
    """Drawn street scenes, where no data set is given (`datum run` without `--source` and `--target`)."""

    height: int = 128
    """Height of a drawn scene, in pixels."""
    width: int = 128
    """Width of a drawn scene, in pixels."""
    source_scenes: int = 320
    """Number of labeled scenes drawn in the source domain."""
    target_train_scenes: int = 16
    """Number of unlabeled scenes drawn in the target domain, to choose one-shot images from."""
    target_val_scenes: int = 64
    """Number of labeled scenes drawn in the target domain, for evaluation."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PersonalizationSettings:
    """DreamBooth on the one-shot image. Defaults: DATUM's `dreambooth/train_dreambooth.py` and README."""

    base_model: Annotated[str, NamesInput()] = "CompVis/stable-diffusion-v1-4"
    """Hub id or local folder of a StableDiffusionPipeline, or `streetscenes`: the small model shipped with
    the package."""
    revision: Annotated[str, NamesInput()] = ""
    """Branch, tag or commit of a base model from the hub; empty takes a fixed commit of the default model and
    the newest of another's main branch. The commit is recorded."""
    variant: Annotated[str, NamesInput()] = ""
    """Variant of the base model's weights, such as fp16; empty takes the plain ones, or the only ones."""
    instance_prompt: str = "a photo of a sks urban scene"
    """Prompt that the one-shot image is learned under."""
    short_side: int = 1024
    """The image is resized so that its shorter side has this many pixels."""
    crop: int = 512
    """Side of the random square crop that a training step sees, in pixels."""
    steps: int = 1000
    """Optimizer steps."""
    checkpoint_every: int = 200
    """Steps between two checkpoints."""
    learning_rate: float = 5e-6
    """Constant learning rate of AdamW, for the UNet and the text encoder."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's betas."""
    weight_decay: float = 1e-2
    """AdamW's weight decay."""
    epsilon: float = 1e-8
    """AdamW's epsilon."""
    max_gradient_norm: float = 1.0
    """Gradients are clipped to this norm."""
    batch_size: int = 1
    """Crops per step."""
    train_text_encoder: bool = True
    """Train the text encoder together with the UNet."""
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    """Arithmetic of the forward pass; the weights stay in float32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a fifth more time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaptationSettings:
    """Self-training of the segmentation network. Defaults: DAFormer's released configuration."""

    iterations: int = 40_000
    """Optimizer steps."""
    batch_size: int = 2
    """Source images, and as many target images, per step."""
    crop: int = 512
    """Side of the random square crop, in pixels."""
    source_scale: tuple[int, int] | None = None
    """Source images are resized to fit within (width, height) pixels with their ratio kept; none takes the
    benchmark's: GTA 1280x720, SYNTHIA 1280x760."""
    target_scale: tuple[int, int] | None = None
    """The same for target images; none leaves generated images and folders of images as they are (DATUM)
    and takes 1024x512 for the one-shot image and for Cityscapes (DAFormer)."""
    resolution_factor: int = 1
    """Sides of source and target images, times what the scales give; settings that count pixels or rows of
    a 512 crop then mean one of 512 times this."""
    cat_max_ratio: float = 0.75
    """A source crop with this share of one class or more in its labels is drawn again, up to ten times."""
    learning_rate: float = 6e-5
    """Peak learning rate of AdamW for the encoder."""
    head_learning_rate_factor: float = 10.0
    """The decode head's learning rate over the encoder's."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's betas."""
    weight_decay: float = 0.01
    """AdamW's weight decay; none on the encoder's norms (the head's decay, as in the reference)."""
    warmup_iterations: Annotated[int, Least(0)] = 1500
    """Iterations of linear warm-up."""
    warmup_ratio: float = 1e-6
    """Share of the learning rate that warm-up starts from."""
    poly_power: float = 1.0
    """Power of the polynomial decay to 0."""
    ema_alpha: float = 0.999
    """Largest decay of the EMA teacher: min(1 - 1/(i+1), alpha)."""
    pseudo_threshold: float = 0.968
    """Confidence from which a pseudo-label pixel counts; their share in the batch weighs the loss of all
    target pixels."""
    mirrored_pseudo_labels: bool = False
    """Pseudo-labels by the mean of the probabilities for a target image and for its mirror image (VFM-UDA;
    DAFormer takes the image's)."""
    pseudo_ignore_top: Annotated[int, Least(0)] = 15
    """Rows at the top of a target crop whose pseudo-labels weigh 0, in rows of a 512 crop (scaled to the
    crop in use; the scaling is ours)."""
    pseudo_ignore_bottom: Annotated[int, Least(0)] = 120
    """The same at the bottom."""
    pseudo_ignore_sides: Annotated[int, Least(0)] = 15
    """The same at left and right, of margins of the image alone."""
    pseudo_margins_of: Literal["crop", "image"] = "crop"
    """What these rows and columns are those of: the crop (DAFormer, whose crops are as high as the image),
    or the image, as HRDA has it: they count for an image 512 high, and only what a crop holds of them weighs
    0, drawings included (DATUM does not tell them from photographs either)."""
    color_jitter_strength: float = 0.2
    """Largest change of brightness, contrast, saturation and hue of the mixed images: added to values in
    0 to 1, a factor's distance from 1 (twice), and a share of a full turn."""
    color_jitter_probability: float = 0.8
    """Probability that a step jitters (the reference's 0.2 is a threshold: it jitters above it)."""
    blur_probability: float = 0.5
    """Probability that a step blurs the mixed images, with a Gaussian of 0.15 to 1.15 pixels."""
    source_augmentation: bool = True
    """Color jitter and blur on source-only training too, so that methods differ in the target alone."""
    photometric_distortion: bool = False
    """Distort brightness, contrast, saturation and hue of each source image as mmseg's
    PhotoMetricDistortion does (DAFormer: in its source-only training alone)."""
    weak_color_jitter: bool = False
    """Jitter each source image that the source loss is of, and each target image before it is mixed, on its
    own and before anything else (VFM-UDA; DAFormer does not). The source's part of a mix stays as it is."""
    source_loss_over: Literal["all", "labeled"] = "all"
    """Pixels that the source loss is averaged over: all, void included (DAFormer), or the labeled ones of the
    batch (VFM-UDA)."""
    rare_class_sampling: bool = True
    """Draw source images by rare classes; without it each is as likely as any other."""
    rare_class_temperature: float = 0.01
    """Temperature of rare class sampling; smaller draws rare classes more often."""
    rare_class_min_pixels: Annotated[int, Least(0)] = 3000
    """Pixels of the sampled class that an image must exceed, in its full size, to be a candidate; given for
    a 512 crop and scaled to the area of the crop in use (the scaling is ours)."""
    rare_class_min_crop_ratio: float = 0.5
    """A crop is drawn again, up to ten times, until more than min_pixels x this are of the sampled class."""
    labeled_share: Annotated[float, Least(0), Most(1)] = 7 / 13
    """Share of the source images that are labeled drawings, where there are any (DGInStyle: 7,000 beside
    6,000). They are flipped and distorted as `photometric_distortion` does; rare class sampling and
    `cat_max_ratio` are for the others."""
    feature_distance_weight: float = 0.005
    """Weight of the ImageNet feature distance; it is off where the encoder has no pretrained weights."""
    feature_distance_min_ratio: float = 0.75
    """Share of a feature cell that one thing class must cover to count."""
    multi_resolution: bool = False
    """Train a network of two resolutions (HRDA): the halved crop as context, half of the crop's side in full
    as detail."""
    masked_consistency: bool = False
    """A third pass, over target images of which 70 % is hidden (MIC)."""
    masking: Literal["block", "token"] = "block"
    """What it hides: blocks of pixels behind the mean color (MIC), or patches behind a mask token that is
    trained with the encoder, which must be a DINOv2 (VFM-UDA's `token_mask_ratio`)."""
    pretrained_encoder: Annotated[str, NamesInput()] = ""
    """ImageNet weights of the encoder: `published` for those that `datum weights` lists, a .pth or
    .safetensors file, an https:// URL, hf://owner/name@revision/file or an s3:// URI; or `random` for random
    weights. Must be given, but where `initial_segmentor` is."""
    initial_segmentor: Annotated[str, NamesInput()] = ""
    """Trained network to start from, in place of the pretrained encoder and a random head: a file or folder
    that `datum evaluate` takes, a URL, hub file or s3:// URI of one, or `streetscenes`, the demo's own, which
    networks of its shape start from. The feature distance is that to `pretrained_encoder`, if given."""
    drop_path_rate: float = 0.1
    """Stochastic depth of the MiT encoder."""
    dropout: float = 0.1
    """Dropout of the decode head."""
    head_channels: int = 256
    """Width of the decode head, which takes most of the time at high resolution."""
    validate_every: Annotated[int, Switchable()] = 2000
    """Iterations between two validations (reference: a twentieth of the training)."""
    log_every: Annotated[int, WayOfWorking()] = 50
    """Iterations between two lines of training.jsonl (reference: 50)."""
    pictures: Annotated[int, Least(0), Most(100), WayOfWorking()] = 40
    """Pictures of mixed images, spread over the training (reference: one every 1000 of 40,000 iterations)."""
    save_every: Annotated[int, WayOfWorking()] = 500
    """Iterations between two saves of the resumable state."""
    workers: Annotated[int, Least(0), WayOfWorking()] = 4
    """Processes that load and crop images; 0 loads in the training process."""
    processes: Annotated[int, WayOfWorking()] = 1
    """Processes that share each batch evenly, on a GPU each where there are any; each has its `workers`."""
    mixed_precision: Literal["no", "tf32", "bf16"] = "no"
    """TF32 for matrix products on a GPU, or bf16 in forward passes (the reference trains in float32)."""
    cuda_graphs: Annotated[bool, WayOfWorking()] = True
    """Whether a GPU that trains alone repeats the passes of a step as CUDA graphs, with the same results."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How images are predicted: by validation, evaluation and prediction alike. Defaults: DAFormer's test
    pipeline, the whole image at once. HRDA's: scale [2048, 1024], slide_crop 1024, slide_stride 512."""

    scale: tuple[int, int] = (1024, 512)
    """Images are resized to fit within (width, height) pixels with their ratio kept; predictions are
    brought back to the image's size before the arg max."""
    slide_crop: int | None = None
    """Side of a square window that slides over the resized image, in pixels; logits are averaged where
    windows overlap. None predicts the image as a whole."""
    slide_stride: int | None = None
    """Pixels from one window to the next; none takes half of slide_crop (reference: `--inference-mode
    slide`)."""
    ratios: tuple[float, ...] = (1.0,)
    """Multi-scale: the image is predicted at each of these multiples of `scale`, and the class probabilities
    are averaged (reference, `--aug-test`: 0.5, 0.75, 1, 1.25, 1.5, 1.75, with flip)."""
    flip: bool = False
    """Predict the mirrored image too, at every ratio, and average the class probabilities."""
    batch_size: Annotated[int, WayOfWorking()] = 1
    """Images per forward pass; only images of one size share a pass."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What `datum run` runs."""

    seeds: Annotated[tuple[int, ...], Least(0), Most(MOST_SEED)] = (1, 2, 3)
    """Seeds; each has its own one-shot image (the paper reports three)."""
    shards: int = 1
    """Tasks that share the generation of one seed."""
    benchmark: Annotated[str, OneOf(BENCHMARKS)] = "gta-to-cityscapes"
    """Source and target data sets."""
    method: Annotated[str, OneOf(METHODS)] = "daformer"
    """Training method of the segmentation network; what it changes in the profile's settings stands in
    `datum.methods`."""
    beside: Annotated[str, OneOf(("", *METHODS))] = ""
    """Method whose changes come before the method's own: that of the run that a baseline stands beside, so
    that the two differ in what they see of the new place alone. Empty: none."""
    encoder: Annotated[str, OneOf(ENCODERS)] = "mit-b5"
    """Encoder of the segmentation network."""
    target_images: TargetImages = "generated"
    """Images of the new place that the training sees: those drawn from the photograph (DATUM), the one-shot
    image alone, all training images of the target data set, unlabeled (plain domain adaptation), or none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings, one field a stage."""

    datasets: DatasetSettings = DatasetSettings()
    personalization: PersonalizationSettings = PersonalizationSettings()
    generation: GenerationSettings = GenerationSettings()
    adaptation: AdaptationSettings = AdaptationSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    run: RunSettings = RunSettings()


PAPER = Settings()

DEMO = Settings(
    datasets=DatasetSettings(source_scenes=1000),
    personalization=PersonalizationSettings(
        base_model="streetscenes",
        short_side=144,
        crop=128,
        steps=40,
        checkpoint_every=20,
        learning_rate=1e-4,
        batch_size=2,
    ),
    generation=GenerationSettings(
        # After 40 steps the images have the new place's light and colors and, with more guidance than the
        # base model needs, mostly still what a prompt asks for; after 20 more of the things and less of the
        # colors, and teach less. 25 denoising steps draw finer than 15. (Chosen where nothing is tested.)
        checkpoint_step=40,
        count=70,
        inference_steps=25,
        guidance_scale=10.0,
        size=128,
        batch_size=8,
        precision="fp32",
        controlnet="streetscenes",
        labeled_count=192,
        labeled_steps=15,
        labeled_guidance_scale=5.0,
        labeled_temperature=0.1,
    ),
    # Learning goes on at the start network's own rate (chosen on such scenes too).
    adaptation=AdaptationSettings(
        initial_segmentor="streetscenes",
        iterations=450,
        batch_size=2,
        crop=128,
        source_scale=(512, 128),
        target_scale=(512, 128),
        learning_rate=2e-3,
        head_learning_rate_factor=1.0,
        pretrained_encoder="random",
        head_channels=32,
        warmup_iterations=30,
        ema_alpha=0.99,
        pseudo_ignore_top=0,
        pseudo_ignore_bottom=0,
        pseudo_ignore_sides=0,
        rare_class_temperature=0.1,
        drop_path_rate=0.0,
        dropout=0.0,
        validate_every=225,
        log_every=10,
        save_every=100,
        workers=0,
    ),
    evaluation=EvaluationSettings(scale=(512, 128), batch_size=8),
    run=RunSettings(encoder="resnet-18-half"),
)

Profile = Literal["demo", "paper"]
PROFILES: Mapping[str, Settings] = types.MappingProxyType({"demo": DEMO, "paper": PAPER})
"""The profiles by name."""

STAGES_WITH_SETTINGS = tuple(field.name for field in dataclasses.fields(Settings))
"""Sections of the settings, in the order of the stages."""


def without_influence() -> frozenset[str]:
    """Names (`stage.key`) of the settings that another run into the same folder may change: they do not
    decide a result, its stage compares them itself, or an input's content counts for them."""
    return frozenset(
        f"{stage}.{key}"
        for stage in STAGES_WITH_SETTINGS
        for key in marked(type(getattr(PAPER, stage)), WayOfWorking, Switchable, NamesInput)
    )


def load_settings(profile: str = "paper", overrides: Iterable[str] = ()) -> Settings:
    """The settings of `profile`, with what the method changes in them (`datum.methods`), and with the
    `stage.key=value` overrides, which win: a text as it is written, a list in YAML's notation. The method is
    the profile's, or the one that `run.method` in the overrides names.

    Raises `InputError` for an unknown profile, stage or key, for a value of the wrong type and for a number
    that is not finite, below 0, or below 1 where it counts something.
    """
    if profile not in PROFILES:
        raise InputError(f"--profile {profile}: unknown profile, expected one of {', '.join(PROFILES)}")
    given = list(overrides)
    asked = functools.reduce(overridden, given, PROFILES[profile]).run
    method = METHODS[asked.method]
    beside = METHODS[asked.beside].settings if asked.beside else {}
    recipe = changed(changed(PROFILES[profile], beside), method.settings)
    settings = functools.reduce(overridden, given, recipe)
    require_consistent(settings)
    return settings


def to_dict(settings: Any) -> dict[str, Any]:
    """Settings as plain dicts, lists and scalars, ready for YAML or JSON."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (tuple, list)):
            return [plain(item) for item in value]
        return value

    return {key: plain(value) for key, value in dataclasses.asdict(settings).items()}


def describe(settings: Any) -> list[tuple[str, Any, str]]:
    """(key, value, docstring) of every field of one stage's settings, for `--help`."""
    kind: type = type(settings)
    return [(key, getattr(settings, key), text) for key, text in docstrings(kind).items()]


def require_counts(stage: str, settings: Any) -> None:
    """Raises `InputError` for a number of one stage's settings that is too small, wherever it comes from."""
    for key, kind in typing.get_type_hints(type(settings), include_extras=True).items():
        value = getattr(settings, key)
        require_range(f"{stage}.{key}={value}", value, kind)
