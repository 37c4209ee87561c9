"""Tests the network on the val split, and gathers all that the report shows of one seed.

## `evaluate`
Evaluates the best and the last checkpoint; their mIoU over 19 classes is shown in the UI.

- `segmentor`: output of `adapt`
- `method`: a method, or the name of an experiment (`datum experiments`)
- `baseline`: the method that was trained in place of it, for comparison; empty for the run's own
- `one_shot`: the photograph
- `generated`: the drawn images, if some were trained on
- `dataset`: URI of the ingested target, of which the val split is fetched
- `source`: the run's source data set; empty where scenes were drawn
- `title`: what the data are, for the report; empty says so of drawn scenes alone
- `metrics`: `miou_best` and `miou_last`, in percent
- `run`: the folder that `datum report` reads

## Notes
Settings: `evaluation.*` of [datum/config.py](../../datum/config.py): `datum evaluate --help` lists them.
"""

from kfp import dsl

from components.images import IMAGES


@dsl.component(base_image=IMAGES["evaluation"], install_kfp_package=False)
def evaluate(
    segmentor: dsl.Input[dsl.Model],
    one_shot: dsl.Input[dsl.Artifact],
    dataset: str,
    benchmark: str,
    method: str,
    encoder: str,
    baseline: str,
    seed: int,
    run_name: str,
    source: str,
    title: str,
    installation: dict,
    image: str,
    workspace: str,
    overrides: list[str],
    metrics: dsl.Output[dsl.Metrics],
    run: dsl.Output[dsl.Artifact],
    generated: dsl.Input[dsl.Dataset] = None,
):
    """Tests the best and the last checkpoint, and gathers the run's folder for the report."""
    from components.task import located, scratch, task
    from datum.datasets.remote import fetch_validation
    from datum.evaluation.seed_run import evaluate_seed_run
    from datum.experiments import experiment_of, run_settings

    fields = {"benchmark": benchmark, "method": method, "encoder": encoder, "baseline": baseline}
    settings = run_settings(installation["profile"], **fields, overrides=overrides)
    # A report on drawn scenes must not read as one on the benchmark.
    data = title or ("" if source else "Drawn street scenes")
    with task(run.path, workspace, run_name, installation=installation, image=image) as output:
        miou = evaluate_seed_run(
            output=output,
            segmentor=located(segmentor.path),
            one_shot=located(one_shot.path),
            generated=located(generated.path) if generated else None,
            dataset=fetch_validation(dataset, scratch()),
            settings=settings.evaluation,
            description={
                "seed": seed,
                "benchmark": settings.run.benchmark,
                "method": settings.run.method,
                "encoder": settings.run.encoder,
                "profile": installation["profile"],
                "target_images": settings.run.target_images,
                "experiment": "" if baseline else experiment_of(method, installation["profile"], settings),
                **({"data": data} if data else {}),
            },
            export=not baseline,
        )
    for name, value in miou.items():
        metrics.log_metric(name, value)
