"""`datum schedule` against a server that speaks KFP's API."""

from collections.abc import Callable
from typing import Any

import pytest
from kfp_server_api import V2beta1RecurringRun
from kubernetes.client import (
    V1ConfigMap,
    V1ConfigMapKeySelector,
    V1Container,
    V1Deployment,
    V1DeploymentSpec,
    V1EnvVar,
    V1EnvVarSource,
    V1LabelSelector,
    V1ObjectMeta,
    V1PodSpec,
    V1PodTemplateSpec,
)

from tests.cluster.conftest import Cluster
from tests.cluster.kfp_api import KfpApi
from tests.cluster.workloads import Workloads

NAME = "datum-reproduction"


def only(api: KfpApi) -> V2beta1RecurringRun:
    (recurring,) = api.recurring_runs.values()
    return recurring


def creations(api: KfpApi) -> int:
    return sum(line.endswith("/recurringruns") for line in api.posts())


@pytest.mark.parametrize(
    "every, cron, words",
    [
        ("weekly", "0 0 3 * * 1", "on Mondays at 03:00"),
        ("monthly", "0 0 3 1 * *", "on day 1 of the month at 03:00"),
        ("0 30 2 * *  MON,THU", "0 30 2 * * MON,THU", "on Mondays and Thursdays at 02:30"),
    ],
)
def test_a_schedule_repeats_the_reproduction_one_at_a_time(
    uploaded: Cluster, every: str, cron: str, words: str
) -> None:
    ended = uploaded.datum("schedule", every, "--param", "data_title=Weekly", "--set", "source=s3://data/gta")
    recurring = only(uploaded.api)
    page = f"{uploaded.url}/#/recurringrun/details/{recurring.recurring_run_id}"
    first, second = ended.out.splitlines()
    assert (ended.status, first) == (0, f"{NAME}: created, {' '.join(every.split())}  {page}")
    assert second.startswith(
        f"  {words}, UTC (the zone of KFP's scheduler unless it is set to another); next: "
    )
    assert second.count(",") == 3
    assert recurring.trigger.cron_schedule.cron == cron
    assert (recurring.mode, recurring.no_catchup, int(recurring.max_concurrency)) == ("ENABLE", True, 1)
    assert recurring.service_account == "datum-runner"
    parameters = recurring.runtime_config.parameters
    assert (parameters["data_title"], parameters["data_source"]) == ("Weekly", "s3://data/gta")


def test_a_schedule_takes_no_result_from_the_cache(uploaded: Cluster) -> None:
    assert any("enableCache" in str(version.pipeline_spec) for version in uploaded.api.versions.values())
    uploaded.datum("schedule", "weekly")
    recurring = only(uploaded.api)
    assert recurring.pipeline_version_reference is None
    assert recurring.pipeline_spec["pipeline_spec"]["pipelineInfo"]["name"] == NAME
    assert "platform_spec" in recurring.pipeline_spec and "enableCache" not in str(recurring.pipeline_spec)


def test_the_same_schedule_again_changes_nothing(uploaded: Cluster) -> None:
    uploaded.datum("schedule", "weekly")
    before = len(uploaded.api.posts())
    ended = uploaded.datum("schedule", "weekly")
    assert ended.status == 0 and f"{NAME}: unchanged, weekly" in ended.out
    assert len(uploaded.api.posts()) == before


def test_another_schedule_of_the_name_replaces_the_first_without_two_ever_being_on(uploaded: Cluster) -> None:
    uploaded.datum("schedule", "weekly")
    first = only(uploaded.api)
    ended = uploaded.datum("schedule", "monthly")
    second = only(uploaded.api)
    assert ended.status == 0 and f"{NAME}: updated, monthly" in ended.out
    assert second.recurring_run_id != first.recurring_run_id and second.mode == "ENABLE"
    assert uploaded.api.most_active == 1


def test_deleting_a_schedule_leaves_its_runs_at_work(uploaded: Cluster) -> None:
    uploaded.datum("schedule", "weekly")
    uploaded.datum("schedule", "remove", NAME)
    ((_, query),) = uploaded.api.deletions
    assert query == {"propagation_policy": "ORPHAN"}


@pytest.mark.parametrize(
    "cut_off_at",
    ["POST .*/recurringruns$", "POST .*:disable", "POST .*:enable", "DELETE .*/recurringruns/"],
)
@pytest.mark.parametrize("again", [("monthly",), ("--apply", "--set", "schedule=monthly")])
def test_a_replacement_that_was_cut_off_is_finished_by_the_same_command(
    uploaded: Cluster, cut_off_at: str, again: tuple[str, ...]
) -> None:
    uploaded.datum("schedule", "weekly")
    uploaded.api.fail(cut_off_at, 503, times=99)
    assert uploaded.datum("schedule", *again).status == 75
    assert uploaded.api.recurring_runs
    uploaded.api.faults.clear()
    assert uploaded.datum("schedule", *again).status == 0
    recurring = only(uploaded.api)
    assert (recurring.trigger.cron_schedule.cron, recurring.mode) == ("0 0 3 1 * *", "ENABLE")
    assert uploaded.api.most_active == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["drop", "stall", 500])
def test_a_failing_network_never_makes_two_schedules(uploaded: Cluster, kind: int | str) -> None:
    uploaded.api.fail("POST .*/recurringruns$", kind, seconds=1.0)
    assert uploaded.datum("schedule", "weekly").status == 0
    assert only(uploaded.api).mode == "ENABLE"


def test_a_request_that_may_still_arrive_is_not_repeated_at_once(uploaded: Cluster) -> None:
    uploaded.api.fail("POST .*/recurringruns$", "lose")
    assert uploaded.datum("schedule", "weekly").status == 75
    assert creations(uploaded.api) == 1


def test_apply_brings_the_cluster_to_the_setting(uploaded: Cluster) -> None:
    def apply(schedule: str) -> str:
        ended = uploaded.datum("schedule", "--apply", "--set", f"schedule={schedule}")
        assert ended.status == 0
        return ended.out

    uploaded.datum("schedule", "monthly", "--name", "mine")
    assert f"{NAME}: created, weekly" in apply("weekly")
    assert f"{NAME}: unchanged, weekly" in apply("weekly")
    assert f"{NAME}: updated, monthly" in apply("monthly")
    assert apply("") == f"{NAME}: removed\n{NAME}: not scheduled\n"
    assert apply("") == f"{NAME}: not scheduled\n"
    assert only(uploaded.api).display_name == "datum-mine"


def test_apply_leaves_alone_what_no_setting_has_made(uploaded: Cluster) -> None:
    uploaded.datum("schedule", "weekly")
    ended = uploaded.datum("schedule", "--apply")
    assert ended.status == 0 and only(uploaded.api).mode == "ENABLE"
    assert ended.out.startswith(f"{NAME}: stays, on Mondays at 03:00 (0 0 3 * * 1), since no SCHEDULE")
    # A setting takes it over, and then takes it back.
    uploaded.datum("schedule", "--apply", "--set", "schedule=weekly")
    assert uploaded.datum("schedule", "--apply").out == f"{NAME}: removed\n{NAME}: not scheduled\n"


def test_apply_brings_in_the_version_that_was_uploaded_last(uploaded: Cluster) -> None:
    apply = ("schedule", "--apply", "--set", "schedule=weekly")
    uploaded.datum(*apply)
    for version in uploaded.api.versions.values():
        if NAME in str(version.pipeline_spec):
            latest = type(version)(**{key: getattr(version, key) for key in version.openapi_types})
    latest.pipeline_version_id = latest.display_name = latest.name = "0.2.0-abc"
    latest.created_at = uploaded.api.now()
    uploaded.api.versions[latest.name] = latest
    assert f"{NAME}: updated, weekly" in uploaded.datum(*apply).out
    assert "version 0.2.0-abc" in only(uploaded.api).description


def test_apply_leaves_a_paused_schedule_paused(uploaded: Cluster) -> None:
    uploaded.datum("schedule", "weekly")
    uploaded.datum("schedule", "pause", NAME)
    for schedule, state in (("weekly", "updated"), ("weekly", "unchanged"), ("monthly", "updated")):
        ended = uploaded.datum("schedule", "--apply", "--set", f"schedule={schedule}")
        assert f"{NAME}: {state}, {schedule}, paused (datum schedule resume {NAME})" in ended.out
        assert only(uploaded.api).mode == "DISABLE"


def test_asking_for_a_paused_schedule_resumes_it(uploaded: Cluster) -> None:
    uploaded.datum("schedule", "weekly")
    uploaded.datum("schedule", "pause", NAME)
    uploaded.datum("schedule", "weekly")
    assert only(uploaded.api).mode == "ENABLE"


def test_schedules_are_listed_paused_resumed_and_removed_by_name(uploaded: Cluster) -> None:
    uploaded.datum("schedule", "weekly")
    uploaded.datum("schedule", "monthly", "--name", "second")
    assert uploaded.datum("schedule", "pause", "second").out == "datum-second: paused\n"
    heading, first, second = uploaded.datum("schedule", "list").out.splitlines()
    assert heading.split() == ["NAME", "STATE", "WHEN", "WHAT", "URL"]
    assert first.startswith(
        f"{NAME}  active  on Mondays at 03:00 (0 0 3 * * 1)             weekly reproduction, version "
    )
    assert second.split()[:5] == ["datum-second", "paused", "on", "day", "1"]
    assert uploaded.datum("schedule", "resume", "datum-second").out == "datum-second: active\n"
    assert all(run.mode == "ENABLE" for run in uploaded.api.recurring_runs.values())
    assert uploaded.datum("schedule", "remove", "second").out == "datum-second: removed\n"
    assert only(uploaded.api).display_name == NAME


def test_remove_all_leaves_what_is_not_ours(uploaded: Cluster) -> None:
    uploaded.datum("schedule", "weekly")
    uploaded.datum("schedule", "monthly", "--name", "second")
    uploaded.datum("schedule", "weekly", "--set", "experiment=elsewhere")
    mine = next(iter(uploaded.api.recurring_runs.values()))
    uploaded.api.recurring_runs["theirs"] = V2beta1RecurringRun(
        recurring_run_id="theirs",
        display_name="nightly",
        experiment_id=mine.experiment_id,
        created_at=mine.created_at,
    )
    ended = uploaded.datum("schedule", "--remove-all")
    assert sorted(ended.out.splitlines()) == [f"{NAME}: removed", "datum-second: removed"]
    assert len(uploaded.api.recurring_runs) == 2 and "theirs" in uploaded.api.recurring_runs
    assert uploaded.datum("schedule", "--remove-all").out == ""


def test_nothing_scheduled_is_no_error(cluster: Cluster) -> None:
    assert cluster.datum("schedule", "--apply").status == 0
    assert cluster.datum("schedule", "--remove-all").status == 0
    ended = cluster.datum("schedule", "list")
    assert (ended.status, ended.out, ended.err) == (0, "", "no schedule; `datum schedule weekly` makes one\n")
    assert cluster.api.posts() == []


@pytest.mark.parametrize(
    "arguments, said",
    [
        ((), "expected one of nightly, weekly, monthly, a cron, list"),
        (("weekly", "--apply"), "expected one of nightly, weekly, monthly, a cron, list"),
        (("--apply", "--remove-all"), "expected one of nightly, weekly, monthly, a cron, list"),
        (("pause",), "expected the name of a schedule"),
        (("weekly", "mine"), "found 'mine', expected no name; --name gives one"),
        (("list", "--param", "title=x"), "--name and --param: they go with a rhythm only"),
        (("pause", "absent"), "absent: no such schedule, found none; see `datum schedule list`"),
        (("hourly",), "schedule: found 'hourly', expected nightly, weekly, monthly or a cron"),
        (("0 3 * * 1",), "5 fields"),
        (("weekly", "--param", "data_titel=x"), "did you mean data_title?"),
    ],
)
def test_wrong_arguments_change_nothing(uploaded: Cluster, arguments: tuple[str, ...], said: str) -> None:
    ended = uploaded.datum("schedule", *arguments)
    assert ended.status == 2 and said in ended.err and len(ended.err.splitlines()) == 1
    assert uploaded.api.posts() == []


def test_without_an_upload_it_says_so(cluster: Cluster) -> None:
    ended = cluster.datum("schedule", "--apply", "--set", "schedule=weekly")
    assert ended.status == 2 and "`make deploy` uploads it" in ended.err


def scheduler(zone: str | None, source: str = "config") -> list[Any]:
    """KFP's controller of schedules, which its manifests set a zone with out of a ConfigMap."""
    reference = V1ConfigMapKeySelector(name="pipeline-install-config", key="cronScheduleTimezone")
    variable = V1EnvVar(
        name="CRON_SCHEDULE_TIMEZONE", value_from=V1EnvVarSource(config_map_key_ref=reference)
    )
    if source == "value":
        variable = V1EnvVar(name="CRON_SCHEDULE_TIMEZONE", value=zone)
    container = V1Container(name="controller", env=[variable] if source != "nothing" else None)
    template = V1PodTemplateSpec(spec=V1PodSpec(containers=[container]))
    spec = V1DeploymentSpec(selector=V1LabelSelector(), template=template)
    name = "ml-pipeline-scheduledworkflow"
    return [
        V1Deployment(metadata=V1ObjectMeta(name=name), spec=spec),
        V1ConfigMap(data={"cronScheduleTimezone": zone}),
    ]


@pytest.fixture
def zone_of(workloads: Workloads) -> Callable[..., None]:
    def put(zone: str | None, source: str = "config") -> None:
        deployment, settings = scheduler(zone, source)
        namespaced = "namespaces/kubeflow"
        workloads.objects[f"/apis/apps/v1/{namespaced}/deployments/ml-pipeline-scheduledworkflow"] = (
            deployment
        )
        workloads.objects[f"/api/v1/{namespaced}/configmaps/pipeline-install-config"] = settings

    return put


@pytest.mark.parametrize("source", ["config", "value"])
def test_times_are_shown_in_the_zone_of_kfps_scheduler(
    uploaded: Cluster, zone_of: Callable[..., None], source: str
) -> None:
    zone_of("Asia/Tokyo", source)
    for rhythm in ("weekly", "TZ=Asia/Tokyo weekly", "TZ=Asia/Seoul weekly"):
        ended = uploaded.datum("schedule", rhythm)
        assert ended.status == 0 and "on Mondays at 03:00, Asia/Tokyo; next: Mon " in ended.out
        assert only(uploaded.api).trigger.cron_schedule.cron == "0 0 3 * * 1"


def test_a_zone_that_the_scheduler_does_not_run_in_is_refused_with_what_sets_it(
    uploaded: Cluster, zone_of: Callable[..., None]
) -> None:
    zone_of(None, "nothing")
    ended = uploaded.datum("schedule", "TZ=Europe/Berlin weekly")
    assert ended.status == 2 and uploaded.api.posts() == []
    assert "but KFP's scheduler runs in UTC, the one zone of all schedules" in ended.err
    assert (
        "set env deployment/ml-pipeline-scheduledworkflow CRON_SCHEDULE_TIMEZONE=Europe/Berlin" in ended.err
    )
    setting = "schedule=TZ=Europe/Berlin weekly"
    assert uploaded.datum("schedule", "--apply", "--set", setting).status == 2


def test_a_zone_that_cannot_be_checked_is_said(uploaded: Cluster, workloads: Workloads) -> None:
    workloads.faults["/apis/apps"] = 403
    ended = uploaded.datum("schedule", "TZ=Europe/Berlin weekly")
    assert ended.status == 0 and "cannot be seen from here; it has to be Europe/Berlin" in ended.err
