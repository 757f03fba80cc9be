"""What reads strangers' files: the program of a process of its own, which holds nothing worth stealing.

`sandbox.py` starts `child.py` for one file; nothing else imports the parsers. `answer.py` is all that both
sides know.
"""
