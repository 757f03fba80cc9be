"""moto with AWS's teeth: what AWS refuses is refused, what it takes time for takes polls, and calls can fail.

    session.py   make_strict: the hook that gives a boto3 session's clients all of this
    calls.py     one call on its way, and what a rule is
    books.py     what the rules remember, in memory or in a file that several processes share
    rules/       one module for each thing that moto does differently
    recorder.py  which calls were made, which of them wrote
    faults.py    throttling, server errors, lost answers, a caller killed at call k

It stands in botocore's own extension points and knows no internals of moto.
"""
