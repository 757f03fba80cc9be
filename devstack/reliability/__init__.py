"""The reliability trials: faults injected into a running stack, and what they lost or doubled.

A section of trials shares one stack. `tally` counts, `verdict` decides what holds after a task, `trials`
names the parts. `make reliability` runs all of it and writes docs/reliability.md; `make test` runs the same
trials with fewer rounds.
"""
