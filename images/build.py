"""Builds, pushes, pins and lists the images: what `make images`, `push`, `pin-bases` and `sbom` run.

Needs Python alone, and docker, podman or buildah.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("personalization", "generation", "adaptation", "evaluation", "reporting")
ENGINES = ("docker", "podman", "buildah")
BASE = re.compile(r"^ARG PYTHON_BASE=(?P<tag>[^@\s]+)(?P<digest>@\S+)?$", re.MULTILINE)
"""The line of a Dockerfile that names its base."""
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
"""Media types of what a tag can stand for; the index of all platforms first."""


def main() -> None:
    """Runs one command; ends with status 2 and one line where the machine lacks what it needs."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = {"build": build, "push": push, "sbom": sbom, "pin-bases": pin_bases}
    parser.add_argument("command", choices=commands)
    parser.add_argument("--engine", default="", help=f"one of {', '.join(ENGINES)}; the first that is there")
    parser.add_argument("--registry", default="", help="registry and path that the images' names begin with")
    parser.add_argument("--tag", default="", help="tag of the images; our version")
    parser.add_argument("--base", default="", help="Python image that is built on; what the Dockerfiles name")
    parser.add_argument("--stages", default=",".join(STAGES), help="which images, with commas between them")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "images.json", help="stage -> image")
    arguments = parser.parse_args()
    try:
        commands[arguments.command](arguments)
    except subprocess.CalledProcessError as error:
        _stop(f"{' '.join(map(str, error.cmd))}: ended with status {error.returncode}")


def build(arguments: argparse.Namespace) -> None:
    """Builds the image of every stage and writes their names."""
    engine = _engine(arguments.engine)
    names = _names(arguments)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    # A URL, without a password that it may hold; a folder on this machine tells nobody anything.
    origin = _git("remote", "get-url", "origin")
    source = re.sub(r"//[^@/]*@", "//", origin) if re.match(r"\w+://|\w+@", origin) else ""
    build_arguments = {"VERSION": version, "REVISION": _git("rev-parse", "HEAD"), "SOURCE": source}
    if arguments.base:
        build_arguments["PYTHON_BASE"] = arguments.base
    # Without --layers, buildah and podman keep nothing that the next image could share.
    layers = [] if engine == "docker" else ["--layers"]
    for stage, name in names.items():
        print(f"== {name}", flush=True)
        given = [word for key, value in build_arguments.items() for word in ("--build-arg", f"{key}={value}")]
        file = ROOT / "images" / stage / "Dockerfile"
        subprocess.run(
            [engine, "build", *layers, *given, "--file", str(file), "--tag", name, str(ROOT)], check=True
        )
    _write(arguments.output, names)


def push(arguments: argparse.Namespace) -> None:
    """Pushes the images and writes their names with the digests that the registry holds them under."""
    if not arguments.registry:
        _stop("REGISTRY: not given, expected where to push to, such as REGISTRY=registry.example.org/team")
    engine = _engine(arguments.engine)
    pushed = {}
    for stage, name in _names(arguments).items():
        repository = name.rpartition(":")[0]
        pushed[stage] = f"{repository}@{_push(engine, name)}"
    _write(arguments.output, pushed)


def sbom(arguments: argparse.Namespace) -> None:
    """Writes what each image holds, as CycloneDX, to build/sbom/<stage>.cdx.json."""
    engine = _engine(arguments.engine)
    folder = ROOT / "build" / "sbom"
    folder.mkdir(parents=True, exist_ok=True)
    script = (ROOT / "images" / "sbom.py").read_text(encoding="utf-8")
    for stage, name in _names(arguments).items():
        listed = _run_in(engine, name, ["python3", "-", name], script)
        file = folder / f"{stage}.cdx.json"
        file.write_text(listed, encoding="utf-8")
        print(f"{file.relative_to(ROOT)}: {len(json.loads(listed)['components'])} components")


def pin_bases(arguments: argparse.Namespace) -> None:
    """Asks the base's registry which digest its tag stands for, and writes it into the Dockerfiles."""
    for stage in STAGES:
        file = ROOT / "images" / stage / "Dockerfile"
        text = file.read_text(encoding="utf-8")
        found = BASE.search(text)
        if not found:
            _stop(f"{file}: no line 'ARG PYTHON_BASE=image:tag'")
        tag = arguments.base or found["tag"]
        pinned = f"ARG PYTHON_BASE={tag}@{digest_of(tag)}"
        file.write_text(text.replace(found[0], pinned), encoding="utf-8")
        print(f"{file.relative_to(ROOT)}: {pinned}")


def digest_of(image: str) -> str:
    """The digest that a registry holds `image` (registry/path:tag) under; ends with status 2 out of reach."""
    name, _, tag = image.rpartition(":")
    registry, _, path = name.rpartition("/") if "/" not in name else name.partition("/")
    if "." not in registry and ":" not in registry and registry != "localhost":
        # As docker reads names: without a registry, its own, and without a path, the official images.
        registry, path = "registry-1.docker.io", name if "/" in name else f"library/{name}"
    scheme = "http" if re.match(r"(localhost|127\.0\.0\.1)(:|$)", registry) else "https"
    url = f"{scheme}://{registry}/v2/{path}/manifests/{tag}"
    try:
        return _manifest_digest(url, {"Accept": MANIFESTS})
    except (OSError, KeyError, ValueError) as error:
        _stop(f"{image}: {registry} cannot be asked for its digest ({error}); nothing was pinned")


def _manifest_digest(url: str, headers: dict[str, str]) -> str:
    request = urllib.request.Request(url, headers=headers, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return str(response.headers["Docker-Content-Digest"])
    except urllib.error.HTTPError as error:
        challenge = error.headers.get("WWW-Authenticate", "")
        if error.code != 401 or "Authorization" in headers or not challenge.startswith("Bearer "):
            raise
        return _manifest_digest(url, {**headers, "Authorization": f"Bearer {_anonymous_token(challenge)}"})


def _anonymous_token(challenge: str) -> str:
    """The token that a registry's challenge says where to get, for a reader without an account."""
    asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    query = urllib.parse.urlencode({key: asked[key] for key in ("service", "scope") if key in asked})
    with urllib.request.urlopen(f"{asked['realm']}?{query}", timeout=30) as response:
        return str(json.load(response)["token"])


def _push(engine: str, name: str) -> str:
    """The digest of an image that was pushed."""
    if engine == "docker":
        subprocess.run([engine, "push", name], check=True)
        digests = _output([engine, "inspect", "--format", "{{json .RepoDigests}}", name])
        repository = name.rpartition(":")[0]
        return next(text for text in json.loads(digests) if text.startswith(f"{repository}@")).partition("@")[
            2
        ]
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run([engine, "push", "--digestfile", file.name, name], check=True)
        return Path(file.name).read_text(encoding="utf-8").strip()


def _run_in(engine: str, image: str, command: list[str], standard_input: str) -> str:
    """What `command` prints in a container of `image`."""
    if engine != "buildah":
        return _output(
            [engine, "run", "--rm", "--interactive", "--network", "none", image, *command], standard_input
        )
    container = _output([engine, "from", image]).strip()
    try:
        return _output([engine, "run", container, "--", *command], standard_input)
    finally:
        subprocess.run([engine, "rm", container], check=True, stdout=subprocess.DEVNULL)


def _engine(wanted: str) -> str:
    found = [engine for engine in ENGINES if wanted in ("", engine) and shutil.which(engine)]
    if not found:
        _stop(f"ENGINE={wanted}: not found on this machine; install and name one of {', '.join(ENGINES)}")
    return found[0]


def _names(arguments: argparse.Namespace) -> dict[str, str]:
    """Stage -> name of its image."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    prefix = f"{arguments.registry.rstrip('/')}/" if arguments.registry else ""
    return {stage: f"{prefix}datum-{stage}:{arguments.tag or version}" for stage in _stages(arguments)}


def _stages(arguments: argparse.Namespace) -> list[str]:
    stages = arguments.stages.split(",")
    unknown = set(stages) - set(STAGES)
    if unknown:
        _stop(f"STAGES: found {', '.join(sorted(unknown))}, expected some of {', '.join(STAGES)}")
    return stages


def _write(file: Path, names: dict[str, str]) -> None:
    """Writes the images to `file`, beside those of other stages that it holds."""
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps({**kept, **names}, indent=2) + "\n", encoding="utf-8")
    print(f"{file}: {', '.join(names.values())}")


def _git(*words: str) -> str:
    """What git prints; nothing outside a repository."""
    ended = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    return ended.stdout.strip()


def _output(words: list[str], standard_input: str = "") -> str:
    ended = subprocess.run(words, input=standard_input, stdout=subprocess.PIPE, text=True, check=True)
    return ended.stdout


def _stop(message: str) -> NoReturn:
    print(f"images: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
