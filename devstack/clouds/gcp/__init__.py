"""Google Cloud on this machine: the APIs that deploying uses over HTTP, and Cloud Run services that run.

api/              the services' rules and state, in memory
cloud.py          all of them as one; faults.py  what goes wrong; recorder.py  what was called
serving.py        the APIs on a port of 127.0.0.1
"""
