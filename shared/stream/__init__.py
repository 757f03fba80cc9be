"""What a browser reads: the events, their merging writer, and the SSE bridge."""
