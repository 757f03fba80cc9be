"""Deploying the seven functions: what is declared, what is built, what is there, and the way between them.

All of the command `scripts/deploy.py`. It stands beside `shared/` and is never bundled: it may know the lanes
and the settings, the functions know nothing of it. Nothing here imports the development stack.
"""
