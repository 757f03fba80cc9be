"""What an operator asks of a running Sluice from a terminal: `scripts/sluice`.

    main ─▶ a command (status, tasks, task, limits, quota, reconcile) ─▶ shared.state ─▶ Redis

Each command is a module with `add`, which declares its arguments and names what runs it. It speaks with Redis
alone, under the variables that the functions run with, and prints ids, never a user's text.
"""
