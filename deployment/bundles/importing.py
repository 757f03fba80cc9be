"""What a package loads at its start, counted in a process that sees nothing but the package."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from deployment.bundles.staging import BuildError
from deployment.bundles.targets import Interpreter
from deployment.catalogue import FunctionSpec

_LOAD = """
import json, sys
sys.path.insert(0, sys.argv[1])
import main
print(json.dumps(sorted(sys.modules)))
"""
_NOWHERE = "http://127.0.0.1:1"
_OTHER_WAYS = frozenset({"UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN", "AUTH_JWKS_URL"})
"""Variables that stand in place of others which are set here."""
_LONGEST_SECONDS = 120


def modules_at_start(folder: Path, spec: FunctionSpec, interpreter: Interpreter) -> tuple[str, ...]:
    """Return the modules that `import main` loads, the interpreter's own included.

    Raises:
        BuildError: it does not import: something is missing from the package.
    """
    ran = subprocess.run(
        [str(interpreter.path), "-I", "-S", "-B", "-c", _LOAD, str(folder)],
        cwd=folder,
        env=placeholders(spec),
        capture_output=True,
        text=True,
        timeout=_LONGEST_SECONDS,
        check=False,
    )
    if ran.returncode != 0:
        raise BuildError(f"{spec.name}: the package does not start:\n{ran.stderr.strip()}")
    return tuple(json.loads(ran.stdout.splitlines()[-1]))


def placeholders(spec: FunctionSpec) -> dict[str, str]:
    """Return an environment in which the function starts, and which leads nowhere."""
    required = spec.environment_names - set(spec.optional_secrets) - _OTHER_WAYS
    given = {name: _NOWHERE for name in required if name.endswith("_URL")}
    given |= {name: f"placeholder-of-{name}".ljust(40, "-") for name in required & set(spec.secrets)}
    special = {"SLUICE_ENV": "dev", "REDIS_URL": "redis://127.0.0.1:1/0", "BLOB_URL": "file:///tmp"}
    return given | {name: value for name, value in special.items() if name in required}
