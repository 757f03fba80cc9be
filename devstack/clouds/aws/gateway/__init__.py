"""Function URLs of the emulated AWS: from a request to the process of the version that its alias leads to.

    transport.py   a client's side: leads `*.lambda-url.*.on.aws` to the gateway's port
    directory.py   host → URL → alias → versions by weight, with all that a version was published with
    sandboxes.py   the versions' processes, started by run.sh as Lambda does
    unpacking.py   what they run from
    forwarding.py  one request: may it come in, is there room, what the adapter makes of it
    vault.py       Secrets Manager as a function sees it: only what its role's policy lets through
    serving.py     all of these on two ports of 127.0.0.1

What is not as on AWS: one process of a version serves requests side by side, where Lambda would start an
instance for each; AWS_LWA_PORT is a free port; the Python is this machine's, of the runtime's version.
"""
