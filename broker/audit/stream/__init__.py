"""The trail as it grows, brought to others: syslog, OpenTelemetry, a file."""
