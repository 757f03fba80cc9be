"""The release engineer's command, `scripts/deploy.py`: arguments, words, exit codes.

0 done, or nothing to do     1 an error, wrong usage too     2 there are changes (`plan`, `drift`)
"""
