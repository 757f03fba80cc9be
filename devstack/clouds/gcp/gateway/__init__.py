"""Cloud Run's addresses on this machine: from a request to the process of the revision it is led to.

    transport.py   a client's side: leads `*.run.app` to the emulator's port
    hosts.py       what a host name says: a service, and perhaps a tag
    unpacking.py   what revisions run from
    instances.py   the revisions' processes, started by run.sh as Cloud Run does
    addresses.py   one request: may it come in, which revision takes it

Processes and the way through to them are those of the local provider (`deployment.providers.local`).

What is not as on Cloud Run: one process of a revision serves whatever comes, where Cloud Run would start an
instance when the first has `concurrency` requests; the Python is this machine's; a process is started by the
first request and not before the revision is called ready; secrets are read then, as the account may.
"""
