"""Spans, metrics and logs, and how they leave the process."""

from opentelemetry import metrics, trace

# OpenTelemetry's API objects: inert until ``configure`` has set the providers.
tracer = trace.get_tracer("broker")
meter = metrics.get_meter("broker")
