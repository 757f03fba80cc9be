"""Environments on this machine: functions as processes on 127.0.0.1, looked after by one supervisor.

    provider ──writes──▶ state.json ◀──reads── supervisor ──▶ a front for each function: its address
        └────"settle"────────────────────────────┘      └──▶ a process for each revision that takes calls

What is wanted stands in the environment's folder, so that it survives the supervisor and the machine; the
supervisor makes it so, and starts it all again when it is started again.
"""
