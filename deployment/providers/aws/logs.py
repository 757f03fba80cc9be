"""A function's log group: how long its log is kept. Lambda would make one by itself, and keep it for ever."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployment.errors import ForeignResource
from deployment.providers.aws.calls import AwsError, Calls, pages
from deployment.providers.aws.names import Names
from deployment.resources import ObservedResource, Properties

if TYPE_CHECKING:  # they come with the development tools
    from mypy_boto3_logs import CloudWatchLogsClient

_MARKER = ("nextToken", "nextToken")


def wanted(retention_days: int | None) -> Properties:
    """Return what a log group should be, or is: None keeps it for ever."""
    return {"retention_days": retention_days}


@dataclass(frozen=True, slots=True)
class LogGroups:
    """The log groups of an environment."""

    logs: CloudWatchLogsClient
    calls: Calls
    names: Names

    def observe(self, name: str) -> ObservedResource | None:
        """Return a function's log group as it is."""
        group_name = self.names.log_group(name)
        found = pages(
            self.calls, self.logs.describe_log_groups, "logGroups", _MARKER, logGroupNamePrefix=group_name
        )
        group = next((each for each in found if each["logGroupName"] == group_name), None)
        if group is None:
            return None
        told = self.calls.maybe(self.logs.list_tags_for_resource, resourceArn=self.names.log_group_arn(name))
        if told is None:
            return None
        ours = self.names.owns(told.get("tags", {}), name)
        return ObservedResource(wanted(group.get("retentionInDays")), ours=ours)

    def ensure(self, name: str, properties: Properties) -> None:
        """Make a log group as it should be."""
        group_name = self.names.log_group(name)
        found = self.observe(name) or self._created(name)
        if not found.ours:
            raise ForeignResource(
                f"The log group {group_name} exists without this environment's tags: it is left alone."
            )
        if found.properties != properties:
            self.calls(
                self.logs.put_retention_policy,
                logGroupName=group_name,
                retentionInDays=properties["retention_days"],
            )

    def remove(self, name: str) -> None:
        """Remove a log group that is ours, with what is in it."""
        found = self.observe(name)
        if found is not None and found.ours:
            self.calls.maybe(self.logs.delete_log_group, logGroupName=self.names.log_group(name))

    def _created(self, name: str) -> ObservedResource:
        group_name, tags = self.names.log_group(name), self.names.tags(name)
        try:
            self.calls(self.logs.create_log_group, logGroupName=group_name, tags=tags)
        except AwsError as error:
            if error.code != "ResourceAlreadyExistsException":
                raise
            if (found := self.observe(name)) is not None:
                return found
            raise
        return ObservedResource({"retention_days": None})
