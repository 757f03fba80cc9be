"""What the host name of a Cloud Run address says: `[TAG---]SERVICE-PROJECTNUMBER.REGION.run.app`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from devstack.clouds.gcp.api.world import PROJECT_NUMBER

DOMAIN = ".run.app"
_HOST = re.compile(rf"(?:([a-z0-9-]+?)---)?([a-z0-9-]+)-{PROJECT_NUMBER}\.([a-z0-9-]+)\.run\.app")


@dataclass(frozen=True, slots=True)
class Address:
    """A service, or one tagged revision of it."""

    service: str
    tag: str
    """Empty for the service's own address."""
    region: str


def address_of(host: str) -> Address | None:
    """Return what a host name says, with or without a port; None for one that is no address of ours."""
    found = _HOST.fullmatch(host.partition(":")[0])
    return Address(found[2], found[1] or "", found[3]) if found else None
