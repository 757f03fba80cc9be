"""An environment on AWS: Lambda behind function URLs, S3, Secrets Manager, one role a function.

    provider.py     AwsProvider: the interface, handed on to those below
    calls.py        every call to AWS: attempts, waiting, and its errors in our words
    names.py        what everything is called, and the tags by which we know our own
    documents.py    policy documents, brought into one form so that they can be compared
    functions.py    a Lambda function as a whole: whose it is, whether it is ready
    identity.py     the role, its trust and its policy
    logs.py         the log group
    address.py      the function's shell and its two addresses, permissions.py  who may call them,
                    placeholder.py  what answers there before the first release
    capacity.py     reserved concurrency
    revisions.py    versions: found, published, removed; configuration.py  what a version is made of
    traffic.py      where the aliases `live` and `candidate` lead
    bucket.py       the store of packages, releases and the lock
    secrets.py      secrets and their versions

Each resource is looked at before it is written, a write asks for no more than what differs, and whoever
comes after a killed process goes on from what is there.
"""
