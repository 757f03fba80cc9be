"""A stand-in for Upstash's Redis over REST, on a real Valkey: the protocol, its refusals and its bill."""
