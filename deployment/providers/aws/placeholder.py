"""What answers at a function's address before its first release: 503 to everything.

An address must be known before the functions that hold it can be made, and it needs something to lead to.
It runs as the bundles do, below Lambda Web Adapter, so that it answers alike in both of its modes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from typing import Final

from deployment.providers.aws.configuration import HANDLER, PORT, Blueprint
from deployment.providers.placeholder_files import FILES

PLACEHOLDER: Final = "sluice placeholder"


def placeholder_package() -> bytes:
    """Return the placeholder's package; the same bytes each time."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_STORED) as archive:
        for path, text, mode in FILES:
            entry = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, text)
    return package.getvalue()


def placeholder(
    *,
    role_arn: str,
    layers: tuple[str, ...],
    python: str,
    architecture: str,
    streams: bool,
) -> Blueprint:
    """Return what makes the placeholder's version."""
    package = placeholder_package()
    variables = {
        "AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap",
        "AWS_LWA_INVOKE_MODE": "response_stream" if streams else "buffered",
        "AWS_LWA_PORT": PORT,
        "AWS_LWA_READINESS_CHECK_PATH": "/robots.txt",
    }
    settings = {
        "Description": PLACEHOLDER,
        "Environment": {"Variables": variables},
        "Handler": HANDLER,
        "Layers": list(layers),
        "MemorySize": 128,
        "Role": role_arn,
        "Runtime": f"python{python}",
        "Timeout": 10,
    }
    digest = base64.b64encode(hashlib.sha256(package).digest()).decode()
    return Blueprint(PLACEHOLDER, settings, architecture, digest, {"ZipFile": package})
