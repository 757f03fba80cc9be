"""An AWS on this machine: moto, strictness where moto is too kind, and function URLs that answer.

`open_emulated` gives the emulated AWS of a folder, and starts it if it does not run; `shut_down` ends it.
Tests that need neither a server nor function URLs take `in_process.in_process`.
"""

from devstack.clouds.aws.emulated import Emulated, EmulatorError, open_emulated, shut_down

__all__ = ["Emulated", "EmulatorError", "open_emulated", "shut_down"]
