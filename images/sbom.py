"""Lists what the image that it runs in holds, as CycloneDX 1.6 JSON: `python3 - IMAGE < images/sbom.py`.

Python packages come from their metadata, the base's from dpkg's own list. Format:
https://cyclonedx.org/docs/1.6/json/
"""

import email
import json
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

DPKG = Path("/var/lib/dpkg/status")


def main(image: str) -> None:
    """Prints the list of `image`."""
    components = [*map(_python, distributions()), *_debian()]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": image}},
        "components": sorted(components, key=lambda component: str(component["purl"])),
    }
    print(json.dumps(document, indent=1))


def _python(package: Distribution) -> dict[str, Any]:
    name = package.metadata["Name"]
    purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{package.version}"
    found = {"type": "library", "name": name, "version": package.version, "purl": purl}
    if "License-Expression" in package.metadata:
        return {**found, "licenses": [{"expression": package.metadata["License-Expression"]}]}
    return found


def _debian() -> Iterator[dict[str, Any]]:
    entries = DPKG.read_text(encoding="utf-8").strip().split("\n\n") if DPKG.is_file() else []
    for package in map(email.message_from_string, entries):
        if package["Status"] == "install ok installed":
            name, version = package["Package"], package["Version"]
            purl = f"pkg:deb/debian/{name}@{version}"
            yield {"type": "library", "name": name, "version": version, "purl": purl}


if __name__ == "__main__":
    main(sys.argv[1])
