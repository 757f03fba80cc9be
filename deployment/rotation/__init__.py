"""Rotating keys without one refused message: what accepts a key comes before what uses it, and goes after.

signing_keys   QStash's pair, which QStash rolls
secrets        those of ours, and QStash's token
notes          what is under way, so that a rotation that was broken off is finished, and never done twice
steps          what all of them do: read, write, prove
"""
