"""Asks an image registry for a manifest, with the credentials that docker or podman keep.

The OCI distribution protocol: a HEAD on the manifest; a 401 names the place that hands out a token. Needs the
standard library alone: images/build.py uses this before anything is installed.
"""

import base64
import json
import os
import re
import subprocess
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

MANIFEST_TYPES = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
"""Media types of an image for several platforms or for one, OCI's and Docker's."""

DOCKER_HUB = "docker.io"
DOCKER_HUB_API = "registry-1.docker.io"
DOCKER_HUB_LOGIN = "https://index.docker.io/v1/"
"""Key of Docker Hub's credentials in docker's configuration."""

SECONDS = 8.0
"""How long a registry, or a helper that keeps credentials, may take to answer."""

Answer = Literal["found", "with credentials", "missing"]


class RegistryError(Exception):
    """A registry refuses or does not answer; holds the remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class _Response(NamedTuple):
    """A registry's answer, refusals among them."""

    status: int
    headers: Message
    body: bytes


def find_manifest(image: str) -> Answer:
    """Whether `image` (`registry/path:tag` or `registry/path@sha256:…`) can be pulled from here.

    Raises `RegistryError` for a registry that refuses or does not answer.
    """
    response, with_credentials = _ask(image)
    if response.status == 404:
        return "missing"
    return "with credentials" if with_credentials else "found"


def digest_of(image: str) -> str:
    """The digest, `sha256:…`, of what the registry holds as `image` now.

    Raises `RegistryError` for a registry that does not know it, refuses or does not answer.
    """
    digest = _ask(image)[0].headers["Docker-Content-Digest"]
    if not digest:
        raise RegistryError(f"the registry gives no digest of {image}", "check the image's name and tag")
    return str(digest)


def _ask(image: str) -> tuple[_Response, bool]:
    """The answer (200 or 404) to a HEAD on the image's manifest, and whether credentials are kept for it."""
    registry, path, reference = _parse(image)
    host = DOCKER_HUB_API if registry == DOCKER_HUB else registry
    url = f"{_scheme(host)}://{host}/v2/{path}/manifests/{reference}"
    user = _credentials(registry)
    try:
        response = _request("HEAD", url)
        challenge = response.headers.get("WWW-Authenticate", "")
        if response.status == 401 and (authorization := _authorization(challenge, user)):
            response = _request("HEAD", url, authorization)
    except (OSError, HTTPException, ValueError) as error:
        raise RegistryError(
            f"registry {registry} does not answer ({getattr(error, 'reason', error)})",
            "check registry in settings.env, VPN and proxy; its nodes may reach what you do not",
        ) from None
    match response.status:
        case 200 | 404:
            return response, user is not None
        case 401 | 403:
            whose = "your credentials" if user else "anonymous pulls"
            raise RegistryError(
                f"registry {registry} refuses {whose}: {response.status} for {image}",
                f"docker login {registry} (or podman login), with an account that may pull",
            )
        case status:
            raise RegistryError(
                f"registry {registry} answers {status} for {image}",
                "check registry and tag in settings.env; is that address a registry?",
            )


def _parse(image: str) -> tuple[str, str, str]:
    """Registry, path, and tag or digest, by docker's rules for names without a registry."""
    name, _, digest = image.partition("@")
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = DOCKER_HUB, name if slash else f"library/{name}"
    path, _, tag = rest.partition(":")
    return first, path, digest or tag or "latest"


def _scheme(host: str) -> str:
    """Plain HTTP for registries on this machine, as docker does."""
    return "http" if re.match(r"(localhost|127\.[\d.]+)(:\d+)?$", host) else "https"


def _authorization(challenge: str, user: tuple[str, str] | None) -> str:
    """The header that answers a registry's challenge; empty where it takes credentials that we lack."""
    basic = "Basic " + base64.b64encode(":".join(user).encode()).decode() if user else ""
    kind, _, parameters = challenge.partition(" ")
    if kind.lower() == "basic":
        return basic
    fields = dict(re.findall(r'(\w+)="([^"]*)"', parameters))
    realm = fields.get("realm", "")
    if not realm.startswith(("http://", "https://")):
        return ""
    query = urlencode({key: fields[key] for key in ("service", "scope") if key in fields})
    response = _request("GET", f"{realm}?{query}", basic)
    if response.status != 200:
        return ""
    try:
        answer = json.loads(response.body)
        return f"Bearer {answer.get('token') or answer['access_token']}"
    except (ValueError, KeyError, AttributeError):
        return ""


def _request(method: str, url: str, authorization: str = "") -> _Response:
    request = Request(url, method=method, headers={"Accept": MANIFEST_TYPES})
    if authorization:
        # Not sent on to where a redirect leads.
        request.add_unredirected_header("Authorization", authorization)
    try:
        response = urlopen(request, timeout=SECONDS)
    except HTTPError as error:
        response = error
    with response:
        return _Response(response.status, response.headers, response.read())


def _credentials(registry: str) -> tuple[str, str] | None:
    """User and password that docker or podman keep for `registry`, if any."""
    server = DOCKER_HUB_LOGIN if registry == DOCKER_HUB else registry
    docker = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    podman = Path(os.environ.get("XDG_RUNTIME_DIR") or "/run") / "containers" / "auth.json"
    for file in (Path(os.environ.get("REGISTRY_AUTH_FILE") or docker), docker, podman):
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
            helper = config.get("credHelpers", {}).get(server) or config.get("credsStore")
            auth = config.get("auths", {}).get(server, {}).get("auth", "")
            if auth:
                user, _, password = base64.b64decode(auth).decode().partition(":")
                return user, password
        except (OSError, ValueError, AttributeError):
            continue
        if helper and (found := _from_helper(str(helper), server)):
            return found
    return None


def _from_helper(helper: str, server: str) -> tuple[str, str] | None:
    """What docker's credential helper answers; None where it has nothing, or is not there."""
    command = [f"docker-credential-{helper}", "get"]
    try:
        done = subprocess.run(
            command, input=server, capture_output=True, text=True, timeout=SECONDS, check=True
        )
        answer = json.loads(done.stdout)
        return answer["Username"], answer["Secret"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return None
