"""Readies a machine for `make test-images`: checks tools, makes a base, writes build/test-images.env.

The base stands in for the slim Python image of the Dockerfile where no registry can be pulled from: Debian
bookworm with its Python 3.11, by debootstrap. `PLATFORM_BASE=image make test-images` takes another.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[3]
BASE = "localhost/datum-test-base:bookworm"
TOOLS = ("podman", "buildah", "runc", "debootstrap", "docker-registry")
"""Commands; Debian's packages have the same names."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def main() -> None:
    """Ends with status 2 and one line where a tool is missing."""
    missing = [command for command in TOOLS if not shutil.which(command)]
    if missing:
        stop(f"not found: {', '.join(missing)}; run `apt-get install {' '.join(TOOLS)}`")
    if os.geteuid():
        stop("needs root, which debootstrap and the user of the containers ask for; run it as root")
    environment = {
        # Without systemd, and nested in another container, these are what runs.
        "CONTAINERS_CONF": os.environ.get(
            "CONTAINERS_CONF", str(Path(__file__).with_name("containers.conf"))
        ),
        "BUILDAH_ISOLATION": os.environ.get("BUILDAH_ISOLATION", "chroot"),
        "PLATFORM_BASE": os.environ.get("PLATFORM_BASE") or BASE,
    }
    os.environ.update(environment)
    if (
        environment["PLATFORM_BASE"] == BASE
        and subprocess.run(["podman", "image", "exists", BASE]).returncode
    ):
        make_base()
    file = ROOT / "build" / "test-images.env"
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(f"export {key}='{value}'\n" for key, value in environment.items()))


def make_base() -> None:
    """Imports a fresh Debian as the base image; takes about a minute."""
    print(f"== {BASE}, by debootstrap", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        include = "--include=python3,python3-venv,ca-certificates"
        made = subprocess.run(
            ["debootstrap", "--variant=minbase", include, "bookworm", folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if made.returncode:
            stop(f"debootstrap failed: {made.stdout[-2000:]}")
        # Packages are installed through whatever this machine trusts, such as a company's mirror.
        shutil.copyfile(CERTIFICATES, folder + str(CERTIFICATES))
        packed = subprocess.Popen(["tar", "-C", folder, "-c", "."], stdout=subprocess.PIPE)
        subprocess.run(["podman", "import", "-", BASE], stdin=packed.stdout, check=True)
        if packed.wait():
            stop("the base could not be packed")


def stop(message: str) -> NoReturn:
    print(f"test-images: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
