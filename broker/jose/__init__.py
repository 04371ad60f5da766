"""JOSE, strictly: compact JWS, one algorithm a key, no trust in a header; alone uses joserfc."""
