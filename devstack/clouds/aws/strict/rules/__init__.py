"""All rules, outermost first: the order in which a call meets them.

What answers is dressed last, so that it shows what the inner rules have just written. What is refused for
its form comes before what is refused for the moment, and that before anything is changed.
"""

from __future__ import annotations

from devstack.clouds.aws.strict.calls import Rule
from devstack.clouds.aws.strict.rules import (
    aliases,
    capacity,
    code,
    configurations,
    entries,
    limits,
    logs,
    pages,
    permissions,
    progress,
    publishing,
    revisions,
    roles,
    secrets,
    settings,
    urls,
)

RULES: tuple[Rule, ...] = (
    pages.paged,
    configurations.dressed,
    publishing.hidden,
    capacity.shown,
    limits.within_limits,
    limits.known_runtime,
    revisions.guarded,
    progress.settling,
    progress.refused_while_settling,
    roles.assumable,
    code.guarded_by_digest,
    publishing.published,
    publishing.pruned,
    code.uploaded,
    settings.kept,
    settings.layered,
    aliases.valid,
    aliases.guarded,
    aliases.filtered,
    urls.created,
    urls.read,
    urls.updated,
    urls.deleted,
    urls.listed,
    permissions.added,
    permissions.read,
    permissions.removed,
    capacity.reserved,
    entries.entered,
    roles.remembered,
    roles.not_visible_yet,
    secrets.stage_named,
    logs.retention,
)
