"""The developer's page at `/dev/sse`: start any action by hand and watch its events arrive."""
