"""An environment on Google Cloud: Cloud Run, Cloud Storage, Secret Manager, one service account a function.

    provider.py     GcpProvider: the interface, handed on to those below
    calls.py        every call to Google: attempts, waiting, and its errors in our words
    clients.py      Google's own clients by their REST transports, and plain REST where there is none
    names.py        what everything is called, and the labels by which we know our own
    services.py     a Cloud Run service as a whole: whose it is, whether it has taken the last change in
    identity.py     the service account, bindings.py  what it may do, resource by resource
    address.py      the service's door, placeholder_revision.py  what answers there before the first release
    capacity.py     how many instances, none while it is stopped
    template.py     what a revision is made of; packages.py  what it runs from
    revisions.py    revisions: found, published, removed
    traffic.py      where the service's own address and the candidate's lead
    bucket.py       the store of packages, releases and the lock
    secrets.py      secrets and their versions

Logs are not made: Cloud Logging has them for the whole project, and keeps them as the project's own bucket
`_Default` says (30 days unless somebody changed it).

Each resource is looked at before it is written, a write asks for no more than what differs, and whoever
comes after a killed process goes on from what is there.
"""
