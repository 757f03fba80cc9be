"""What can go wrong while deploying, one class for each way out that a caller has.

    DeployError                 every one of them: exit status 1, and its text is the message
    ├── Refused                 the files, the request or the environment do not allow it; nothing was called
    │   ├── ProtectedEnvironment
    │   └── MissingSecret
    ├── LockHeld                somebody else deploys to this environment
    ├── LockLost                our own lock was taken over: nothing more may be written
    ├── WorldMoved              what a saved plan, or a guarded write, relied on is no longer so
    ├── ForeignResource         something of that name exists and does not carry our tags
    ├── ProbeFailed             a revision did not answer as it must
    └── ProviderError           the cloud refused or failed; its own words, without values

No text of these may hold a secret's value.
"""

from __future__ import annotations


class DeployError(Exception):
    """Deploying cannot go on; the text says why and what to do."""


class Refused(DeployError):
    """What was asked for is not allowed or not complete; nothing has been called."""


class ProtectedEnvironment(Refused):
    """The environment says `protected = true`."""


class MissingSecret(Refused):
    """A secret that a function needs has no value in the environment's store."""


class LockHeld(DeployError):
    """Somebody else deploys to this environment."""


class LockLost(DeployError):
    """The lock was taken over or removed while it was ours: nothing more may be written."""


class WorldMoved(DeployError):
    """What a plan relied on is no longer so."""


class ForeignResource(DeployError):
    """Something of that name exists without our tags, and is left alone."""


class ProbeFailed(DeployError):
    """A revision did not answer a probe as it must."""


class ProviderError(DeployError):
    """The cloud refused or failed."""
