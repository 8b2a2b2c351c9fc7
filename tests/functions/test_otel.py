"""OpenTelemetry: one server span per invocation, exported to a real collector endpoint."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.functions_server import serve


def test_a_span_for_each_invocation(tmp_path):
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            data = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                import gzip

                data = gzip.decompress(data)
            seen.append(ExportTraceServiceRequest.FromString(data))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    collector = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=collector.serve_forever)
    thread.start()
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}"}
    with serve(tmp_path / "p", {"api/a.py": "def GET():\n    yield 'x'\n"}, env=env) as server:
        trace = {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}
        ids = [server.get("/api/a", trace).get("x-streamward-id") for _ in range(2)]
        server.report(ids[1])
    collector.shutdown()
    thread.join()
    collector.server_close()

    spans = [span for request in seen for r in request.resource_spans for s in r.scope_spans for span in s.spans]
    found = [{a.key: a.value for a in span.attributes} for span in spans]
    assert ids == [attributes["faas.invocation_id"].string_value for attributes in found]
    assert [attributes["faas.name"].string_value for attributes in found] == ["api/a.py"] * 2
    assert [attributes["faas.coldstart"].bool_value for attributes in found] == [True, False]
    assert [[event.name for event in span.events] for span in spans] == [["first_byte"]] * 2
    assert {"aa" * 16} == {span.trace_id.hex() for span in spans}
    assert {"bb" * 8} == {span.parent_span_id.hex() for span in spans}
