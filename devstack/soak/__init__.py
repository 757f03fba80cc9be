"""The soak: minutes of mixed traffic and faults from one seed, then every promise checked over all of it.

    plan, drawing     what is asked and broken when, drawn from the seed before anything runs
    users, reading    who asks, who reads, as browsers do
    injector          who breaks things
    watch             who looks on: leases, queues, memory
    rest              the cool-down: faults off, sweeps, until nothing is open
    evidence          everything that was said, stored and seen, as plain data
    outcomes, money, texts, limits, leftovers       the invariants, as pure functions of the evidence
    screen, report    what it looks like

The same seed gives the same schedule of requests and faults; how they meet is up to the machine.
"""
