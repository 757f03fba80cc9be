"""The bill of materials beside each package: CycloneDX 1.6, without anything that differs between builds."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from deployment.bundles.components import Component

_NAMESPACE = uuid.UUID("3b0cf0a5-6a52-5d0e-9d8a-0f6a4a0d6f0e")


def bill_of_materials(function: str, digest: str, components: Sequence[Component]) -> str:
    """Return the bill of materials of a package, as JSON.

    Args:
        function: whose package.
        digest: the package's identity, which stands for a time and a random serial number.
        components: what is in it by others.
    """
    own = {
        "type": "application",
        "bom-ref": function,
        "name": function,
        "version": digest,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(_NAMESPACE, f"{function}:{digest}").urn,
        "version": 1,
        "metadata": {"component": own},
        "components": [_component(component) for component in components],
        "dependencies": [
            {"ref": function, "dependsOn": [component.purl for component in components]},
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def _component(component: Component) -> Mapping[str, Any]:
    return {
        "type": "library",
        "bom-ref": component.purl,
        "name": component.name,
        "version": component.version,
        **({"licenses": [_licence(component)]} if component.licence else {}),
        "purl": component.purl,
        # The lock accepts one of several archives of a version, and the installer does not say which it took.
        "externalReferences": [
            {
                "type": "distribution",
                "url": component.purl,
                "comment": "the archives that the lock accepts, one of which was installed",
                "hashes": [{"alg": "SHA-256", "content": sha256} for sha256 in component.archives],
            }
        ],
        "properties": [{"name": "sluice:wheel-tag", "value": component.tag}],
    }


def _licence(component: Component) -> Mapping[str, Any]:
    if component.spdx:
        return {"expression": component.licence}
    return {"license": {"name": component.licence}}
