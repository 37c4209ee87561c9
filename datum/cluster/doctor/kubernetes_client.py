"""The Kubernetes API as the checks ask it: one try and a time-out for every call."""

from collections.abc import Callable, Mapping
from typing import Any

from kubernetes import client as api

from datum.cluster.doctor.checks import TIMEOUT


class _ImpatientClient(api.ApiClient):
    def request(self, *arguments: Any, **options: Any) -> Any:
        return super().request(*arguments, **options | {"_request_timeout": TIMEOUT})


class Kubernetes:
    """The parts of a cluster's API that the checks need; calls raise the client's `ApiException`."""

    def __init__(self, configuration: api.Configuration) -> None:
        # No retries: each check says in its own row that the server cannot be reached.
        configuration.retries = False
        client = _ImpatientClient(configuration)
        self.authorization = api.AuthorizationV1Api(client)
        self.core = api.CoreV1Api(client)
        self.custom = api.CustomObjectsApi(client)
        self.discovery = api.DiscoveryV1Api(client)
        self.storage = api.StorageV1Api(client)
        self.version = api.VersionApi(client)

    @staticmethod
    def find(read: Callable[..., Any], *names: str) -> Any:
        """The object that `read` reads, or None where there is none of these `names`."""
        try:
            return read(*names)
        except api.ApiException as error:
            if error.status != 404:
                raise
            return None

    def allows(self, attributes: Mapping[str, str], user: str = "") -> bool:
        """Whether you, or `user`, may do what the attributes of an access review describe."""
        wanted = {"resource_attributes": api.V1ResourceAttributes(**attributes)}
        if user:
            review = api.V1SubjectAccessReview(spec=api.V1SubjectAccessReviewSpec(user=user, **wanted))
            answer = self.authorization.create_subject_access_review(review)
        else:
            review = api.V1SelfSubjectAccessReview(spec=api.V1SelfSubjectAccessReviewSpec(**wanted))
            answer = self.authorization.create_self_subject_access_review(review)
        return bool(answer.status.allowed)
