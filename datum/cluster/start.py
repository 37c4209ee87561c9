"""Starting a run, once, whatever the network does."""

import uuid
from typing import Any

from datum.cluster.client import Kfp, UnansweredError, name_filter
from datum.errors import InputError


def start_run(kfp: Kfp, name: str, request: dict[str, Any], *, note: str = "") -> Any:
    """Has KFP start the run that `request` describes; `note` begins the run's description.

    Raises `InputError` where KFP did not say whether it started it.
    """
    import kfp_server_api as api

    # Names of runs may repeat; this tells the run of this command from all others.
    description = f"{note}datum submit {uuid.uuid4()}"

    def find() -> Any:
        wanted = {"experiment_id": request["experiment_id"], "filter": name_filter(name)}
        runs = kfp.entries(kfp.runs, "runs", sort_by="created_at desc", **wanted)
        return next((run for run in runs if run.description == description), None)

    try:
        return kfp.create(
            kfp.runs.create_run,
            find,
            unique=False,
            run=api.V2beta1Run(display_name=name, description=description, **request),
        )
    except UnansweredError as error:
        raise InputError(
            f"{error}; whether the run {name!r} was started is unknown: look with `datum runs` before you "
            "submit it again"
        ) from None
