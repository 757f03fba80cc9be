"""Who holds what: the table that isolation rests on, as data. What a function does not hold, it cannot leak.

It is written down apart from `infra/functions.toml`, on purpose: the catalogue says what is handed over, this
says what may be, and `deployment.validation` refuses whatever the two disagree in. The policy linter goes by
it too. The same table stands in `docs/configuration.md`, and a test holds all three together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from shared.routing import Lane

REDIS = frozenset({"REDIS_URL", "UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"})
SIGNING_KEYS = frozenset({"QSTASH_CURRENT_SIGNING_KEY", "QSTASH_NEXT_SIGNING_KEY"})
DEEPSEEK = frozenset({"DEEPSEEK_API_KEY"})
GLM = frozenset({"GLM_API_KEY"})
COLLECTOR = frozenset({"OTEL_EXPORTER_OTLP_HEADERS"})
"""A key of the collector's, where it wants one."""


class Blobs(StrEnum):
    """What a function does with uploaded images."""

    NONE = "none"
    READS = "reads"
    WRITES = "writes"
    """Stores and deletes them; it has no use for reading one back."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What one function may hold, and nothing else."""

    secrets: frozenset[str]
    blobs: Blobs = Blobs.NONE
    optional: frozenset[str] = frozenset()
    """Secrets that it holds only where the environment has them: what it accepts too while a first one is
    being replaced, and what opens something that a deployment may do without."""

    @property
    def all_secrets(self) -> frozenset[str]:
        return self.secrets | self.optional


HOLDINGS: Mapping[str, Holding] = MappingProxyType(
    {
        Lane.PAID_STREAM: Holding(REDIS | SIGNING_KEYS | DEEPSEEK, optional=COLLECTOR),
        Lane.FREE_STREAM: Holding(REDIS | SIGNING_KEYS | GLM, optional=COLLECTOR),
        Lane.PAID_BATCH: Holding(REDIS | SIGNING_KEYS | DEEPSEEK, optional=COLLECTOR),
        Lane.FREE_BATCH: Holding(REDIS | SIGNING_KEYS | GLM, Blobs.READS, COLLECTOR),
        Lane.PAID_VISION: Holding(REDIS | SIGNING_KEYS | GLM, Blobs.READS, COLLECTOR),
        "actions": Holding(
            REDIS | SIGNING_KEYS | {"QSTASH_TOKEN", "AUTH_JWT_SECRET", "STREAM_TOKEN_SECRET"},
            Blobs.WRITES,
            COLLECTOR | {"AUTH_JWT_SECRET_SECOND", "OPS_TOKEN"},
        ),
        "events": Holding(
            frozenset({"REDIS_URL", "STREAM_TOKEN_SECRET"}),
            optional=COLLECTOR | {"STREAM_TOKEN_SECRET_SECOND"},
        ),
    }
)


def holding_of(function: str) -> Holding:
    """Return what a function may hold: nothing when the table does not have it."""
    return HOLDINGS.get(function, Holding(frozenset()))
