"""The Google Cloud APIs that deploying uses, in memory: what they take, what they refuse, how long they take.

requests.py       a request and its answer; errors as Google words them
world.py          what the services share: accounts, policies, etags, what has been deleted
run.py            Cloud Run Admin v2: services, revisions, operations
run_rules.py      what Cloud Run refuses of a service
run_revisions.py  how a template becomes a revision, and whether that one starts
secret_manager.py Secret Manager v1
iam.py            IAM v1 (service accounts) and Resource Manager v1 (the project and its policy)
storage.py        Cloud Storage's JSON API: buckets, objects with generations, uploads
"""
