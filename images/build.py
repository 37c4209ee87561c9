"""Builds, pushes, pins, lists, signs and scans the images: what `make images`, `push`, `pin-bases`, `sbom`,
`sign` and `scan` run.

Needs Python alone, and docker, podman or buildah; cosign to sign, trivy to scan.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # Nothing is installed yet.

from components.images import BUILT_IMAGES, STAGES, image_names  # noqa: E402
from datum import __version__  # noqa: E402
from datum.cluster.registry import RegistryError, digest_of  # noqa: E402

DOCKERFILE = ROOT / "images" / "Dockerfile"
ENGINES = ("docker", "podman", "buildah")
WITHOUT_TORCH = ("reporting",)
"""Stages whose image begins before torch is installed."""
BASE = re.compile(r"^ARG PYTHON_BASE=([^@\s]+)(?:@\S+)?$", re.MULTILINE)
"""The line of the Dockerfile that names its base."""


def main() -> None:
    """Runs one command; ends with status 2 and one line where the machine lacks what it needs."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = {"build": build, "push": push, "sbom": list_contents, "pin-bases": pin_bases}
    commands |= {"sign": sign, "scan": scan}
    parser.add_argument("command", choices=commands)
    parser.add_argument("--engine", default="", help=f"one of {', '.join(ENGINES)}; the first that is there")
    parser.add_argument("--registry", default="", help="registry and path that the images' names begin with")
    parser.add_argument("--tag", default="", help="tag of the images; our version")
    parser.add_argument("--base", default="", help="Python image that is built on; what the Dockerfile names")
    parser.add_argument("--stages", default="", help="which images, with commas between them; all")
    parser.add_argument("--key", default="", help="key to sign with, a file or a KMS URI; your own identity")
    parser.add_argument("--output", type=Path, default=ROOT / BUILT_IMAGES, help="stage -> image")
    arguments = parser.parse_args()
    try:
        commands[arguments.command](arguments)
    except subprocess.CalledProcessError as error:
        _stop(f"{' '.join(map(str, error.cmd))}: ended with status {error.returncode}")


def build(arguments: argparse.Namespace) -> None:
    """Builds the image of every stage and writes their names."""
    engine = _engine(arguments.engine)
    names = _names(arguments)
    # A URL, without a password that it may hold; a folder on this machine tells nobody anything.
    origin = _git("remote", "get-url", "origin")
    source = re.sub(r"//[^@/]*@", "//", origin) if re.match(r"\w+://|\w+@", origin) else ""
    shared = {"PYTHON_BASE": arguments.base, "SOURCE": source, "VERSION": __version__}
    shared["REVISION"] = _git("rev-parse", "HEAD")
    # Without --layers, buildah and podman keep nothing that the next image could share.
    command = [engine, "build"] if engine == "docker" else [engine, "build", "--layers"]
    for stage, name in names.items():
        print(f"== {name}", flush=True)
        description = (ROOT / "images" / stage / "description.txt").read_text(encoding="utf-8").strip()
        parent = "without-torch" if stage in WITHOUT_TORCH else "with-torch"
        values = {**shared, "STAGE": stage, "DESCRIPTION": description, "PARENT": parent}
        given = [f"--build-arg={key}={value}" for key, value in values.items() if value]
        subprocess.run([*command, *given, "--file", DOCKERFILE, "--tag", name, ROOT], check=True)
    _write(arguments.output, names)


def push(arguments: argparse.Namespace) -> None:
    """Pushes the images and writes their names with the digests that the registry holds them under."""
    if not arguments.registry:
        _stop("REGISTRY: not given, expected where to push to, such as REGISTRY=registry.example.org/team")
    engine = _engine(arguments.engine)
    _write(arguments.output, {stage: _push(engine, name) for stage, name in _names(arguments).items()})


def list_contents(arguments: argparse.Namespace) -> None:
    """Writes what each image holds, as CycloneDX, to build/sbom/<stage>.cdx.json."""
    engine = _engine(arguments.engine)
    script = (ROOT / "images" / "sbom.py").read_text(encoding="utf-8")
    for stage, name in _names(arguments).items():
        listed = _run_in(engine, name, ["python3", "-", name], script)
        file = ROOT / "build" / "sbom" / f"{stage}.cdx.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(listed, encoding="utf-8")
        print(f"{file.relative_to(ROOT)}: {len(json.loads(listed)['components'])} components")


def pin_bases(arguments: argparse.Namespace) -> None:
    """Asks the base's registry which digest its tag stands for, and writes it into the Dockerfile."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    tag = arguments.base.partition("@")[0] or BASE.findall(text)[0]
    try:
        pinned = f"ARG PYTHON_BASE={tag}@{digest_of(tag)}"
    except RegistryError as error:
        _stop(f"{error}; nothing was pinned")
    DOCKERFILE.write_text(BASE.sub(pinned, text), encoding="utf-8")
    print(f"{DOCKERFILE.relative_to(ROOT)}: {pinned}")


def sign(arguments: argparse.Namespace) -> None:
    """Signs what was pushed, by digest, and leaves the signatures beside the images in the registry."""
    cosign = _tool("cosign", "https://docs.sigstore.dev/cosign/system_config/installation")
    key = ["--key", arguments.key] if arguments.key else []
    for name in _pushed(arguments):
        subprocess.run([cosign, "sign", "--yes", *key, name], check=True)


def scan(arguments: argparse.Namespace) -> None:
    """Looks through what was pushed for grave vulnerabilities that a newer package mends; ends with status 1
    where there are any."""
    trivy = _tool("trivy", "https://trivy.dev/latest/getting-started/installation")
    command = [trivy, "image", "--severity", "HIGH,CRITICAL", "--ignore-unfixed", "--exit-code", "1"]
    names = _pushed(arguments)
    found = [name for name in names if subprocess.run([*command, name], check=False).returncode]
    print(f"{len(found)} of {len(names)} images have grave vulnerabilities, or could not be scanned")
    sys.exit(1 if found else 0)


def _pushed(arguments: argparse.Namespace) -> list[str]:
    """The names with digests that `push` wrote, of the stages that were asked for."""
    file = arguments.output
    recorded = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    names = {stage: recorded.get(stage, "no image") for stage in _names(arguments)}
    for stage, name in names.items():
        if "@sha256:" not in name:
            _stop(f"{file}: found {name} for {stage}, expected one with its digest; `make push` records it")
    return list(names.values())


def _tool(name: str, home: str) -> str:
    """The program `name`, or the end where it is not installed."""
    if not (found := shutil.which(name)):
        _stop(f"{name}: not found on the path; install it as {home} says")
    return found


def _push(engine: str, name: str) -> str:
    """Pushes an image; returns its name with the digest that the registry holds it under."""
    repository = name.rpartition(":")[0]
    if engine == "docker":
        subprocess.run([engine, "push", name], check=True)
        digests = json.loads(_output([engine, "inspect", "--format", "{{json .RepoDigests}}", name]))
        return next(str(digest) for digest in digests if digest.startswith(f"{repository}@"))
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run([engine, "push", "--digestfile", file.name, name], check=True)
        return f"{repository}@{Path(file.name).read_text(encoding='utf-8').strip()}"


def _run_in(engine: str, image: str, command: list[str], standard_input: str) -> str:
    """What `command` prints in a container of `image`."""
    if engine != "buildah":
        run = [engine, "run", "--rm", "--interactive", "--network", "none", image]
        return _output([*run, *command], standard_input)
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
    """Name of the image of each stage that was asked for."""
    wanted = arguments.stages.split(",") if arguments.stages else STAGES
    unknown = set(wanted) - set(STAGES)
    if unknown:
        _stop(f"STAGES: found {', '.join(sorted(unknown))}, expected some of {', '.join(STAGES)}")
    names = image_names(arguments.registry, arguments.tag)
    return {stage: names[stage] for stage in wanted}


def _write(file: Path, names: dict[str, str]) -> None:
    """Writes the images to `file`, beside those of other stages that it holds."""
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps({**kept, **names}, indent=2) + "\n", encoding="utf-8")
    print(f"{file}: {', '.join(names.values())}")


def _git(*words: str) -> str:
    """What git prints; nothing outside a repository."""
    ended = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=False)
    return ended.stdout.strip()


def _output(command: list[str], standard_input: str = "") -> str:
    return subprocess.run(command, input=standard_input, stdout=subprocess.PIPE, text=True, check=True).stdout


def _stop(message: str) -> NoReturn:
    print(f"images: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
