"""The peers, each as its own documentation sets it up; run by the interpreter of `bench.environment`."""
