"""The cluster of the current kube context, and what generated clients say of their errors."""

import json
import os
import re
from typing import Any

from datum.errors import InputError


def load_kubeconfig(configuration: Any) -> str:
    """Points `configuration` at the cluster of the current kube context, and returns the context's name.

    Raises `InputError` for a kubeconfig that is not there or cannot be used.
    """
    from kubernetes.config import ConfigException, list_kube_config_contexts, load_kube_config
    from yaml import YAMLError

    # Not the Kubernetes client's own default, which is read when it is imported.
    file = os.environ.get("KUBECONFIG") or "~/.kube/config"
    try:
        load_kube_config(file, client_configuration=configuration)
        return str(list_kube_config_contexts(file)[1]["name"])
    except (ConfigException, YAMLError, OSError) as error:
        raise InputError(f"{file}: {' '.join(str(error).split())}") from None


def refusal(error: Any) -> tuple[str, int | None]:
    """Message, in one line, and code in the body of an `ApiException` of KFP's or Kubernetes' client."""
    try:
        body = json.loads(error.body)
    except (TypeError, ValueError):
        body = None
    if not isinstance(body, dict):
        body = {}
    text = body.get("message") or body.get("error_message") or body.get("error") or error.reason
    return " ".join(str(text).split()), body.get("code")


def reason(error: Exception) -> str:
    """What is wrong, in one line and without the connection that urllib3 puts before it."""
    return re.sub(r"^(<[^>]*>|\w+\(.*?\)): ", "", " ".join(str(error).split())) or type(error).__name__
