"""One OpenTelemetry server span per invocation, when the ``otel`` extra is installed and an endpoint is set."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamward.functions.invocation import Invocation

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

log = logging.getLogger("streamward.functions")


class Tracer:
    """Makes spans of finished invocations; does nothing without a provider."""

    def __init__(self, provider: Any = None) -> None:
        self.provider = provider
        self.tracer = provider.get_tracer("streamward.functions") if provider is not None else None
        self.seen: set[str] = set()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Tracer:
        if not any(environment.get(name) for name in ENDPOINTS):
            return cls()
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            log.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set; spans need `pip install streamward[otel]`")
            return cls()
        name = environment.get("OTEL_SERVICE_NAME", "streamward")
        provider = TracerProvider(resource=Resource.create({"service.name": name}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    def record(self, invocation: Invocation) -> None:
        """The span of an invocation that is over."""
        if self.tracer is None:
            return
        from opentelemetry.trace import (
            NonRecordingSpan,
            SpanContext,
            SpanKind,
            Status,
            StatusCode,
            TraceFlags,
            set_span_in_context,
        )

        context = None
        if invocation.inbound.parent_span:
            parent = SpanContext(
                int(invocation.inbound.trace_id, 16), int(invocation.inbound.parent_span, 16), is_remote=True,
                trace_flags=TraceFlags(TraceFlags.SAMPLED),
            )  # fmt: skip
            context = set_span_in_context(NonRecordingSpan(parent))
        attributes = {
            "faas.name": invocation.file, "faas.invocation_id": invocation.request_id, "faas.trigger": "http",
            "faas.coldstart": invocation.served_by not in self.seen, "http.request.method": invocation.request.method,
            "url.path": invocation.mark.path, "http.response.status_code": invocation.status,
        }  # fmt: skip
        self.seen.add(invocation.served_by)
        span = self.tracer.start_span(
            f"{invocation.request.method} {invocation.lane.route.path}", context=context, kind=SpanKind.SERVER,
            attributes=attributes, start_time=invocation.arrived_ns,
        )  # fmt: skip
        if invocation.chunks:
            at = invocation.arrived_ns + int((invocation.first_byte_at - invocation.arrived_at) * 1e9)
            span.add_event("first_byte", timestamp=at)
        if invocation.outcome not in ("ok", "cancelled"):
            span.set_status(Status(StatusCode.ERROR, invocation.code or invocation.outcome))
        span.end()

    def close(self) -> None:
        if self.provider is not None:
            self.provider.shutdown()
