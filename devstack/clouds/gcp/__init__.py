"""Google Cloud on this machine: the APIs that deploying uses over HTTP, and Cloud Run services that run.

    api/              the services' rules and state, in memory
    cloud.py          all of them as one; faults.py  what goes wrong; recorder.py  what was called
    gateway/          the services' addresses, and the revisions' processes behind them
    serving.py        both on a port of 127.0.0.1
    emulated.py       as a process that outlives commands

`open_emulated` gives the emulated Google Cloud of a folder, and starts it if it does not run; `shut_down`
ends it.
"""

from devstack.clouds.gcp.emulated import Emulated, open_emulated, shut_down

__all__ = ["Emulated", "open_emulated", "shut_down"]
