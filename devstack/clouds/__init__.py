"""The clouds' stand-ins that deploying is tried on. Each listens on 127.0.0.1, or not at all."""
