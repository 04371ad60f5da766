"""The use case: parse a request, run the eight steps, answer. RFC 8693 §2."""
