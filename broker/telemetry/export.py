"""How spans and metrics leave the process: OTLP over HTTP, and the Prometheus text format."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

# From what one step takes to what nobody should wait for, in seconds.
_BUCKETS: Final = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01),
    *(0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What ``configure`` has set up for this process."""

    registry: CollectorRegistry
    media_type: str = CONTENT_TYPE_LATEST

    def render_metrics(self) -> bytes:
        """Return every metric in the Prometheus text format."""
        return generate_latest(self.registry)


def configure(*, otlp_endpoint: str | None, trace_ratio: float) -> Telemetry:
    """Set the providers of this process; once, for OpenTelemetry takes no second ones.

    ``trace_ratio`` is the share of requests that are traced when their caller does not say.
    Without ``otlp_endpoint`` none is: logs then name a trace only where the caller named one.
    """
    resource = Resource.create(
        {"service.name": "broker", "service.version": version("token-exchange-broker")}
    )
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    metrics.set_meter_provider(
        MeterProvider(
            metric_readers=[
                PrometheusMetricReader(
                    disable_target_info=True, scope_info_enabled=False, registry=registry
                )
            ],
            resource=resource,
            exemplar_filter=AlwaysOffExemplarFilter(),
            views=[
                View(
                    instrument_name="broker.*.duration",
                    aggregation=ExplicitBucketHistogramAggregation(_BUCKETS),
                )
            ],
        )
    )
    if otlp_endpoint is not None:
        sampler = ParentBased(TraceIdRatioBased(trace_ratio))
        provider = TracerProvider(sampler=sampler, resource=resource)
        exporter = OTLPSpanExporter(endpoint=f"{otlp_endpoint.rstrip('/')}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
    return Telemetry(registry)
