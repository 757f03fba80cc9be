"""What a function tells of itself to OpenTelemetry: spans and measurements, or nothing at all."""
