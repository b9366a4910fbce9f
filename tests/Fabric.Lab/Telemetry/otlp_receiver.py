"""An OTLP receiver: over HTTP with protobuf and over gRPC. Prints one JSON object a line for each span, data point and log record.

usage: otlp_receiver.py HOST HTTP_PORT GRPC_PORT

Numbers of fields are those of opentelemetry-proto 1.x (opentelemetry.io/docs/specs/otlp); what is not listed is skipped by the protobuf library.
"""

import gzip
import json
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# name: (number, type, repeated); a type that is no scalar is a message of this list.
SCHEMA = {
    "ArrayValue": {"values": (1, "AnyValue", True)},
    "KeyValueList": {"values": (1, "KeyValue", True)},
    "AnyValue": {
        "string_value": (1, "string", False), "bool_value": (2, "bool", False), "int_value": (3, "int64", False),
        "double_value": (4, "double", False), "array_value": (5, "ArrayValue", False), "kvlist_value": (6, "KeyValueList", False),
        "bytes_value": (7, "bytes", False),
    },
    "KeyValue": {"key": (1, "string", False), "value": (2, "AnyValue", False)},
    "Scope": {"name": (1, "string", False), "version": (2, "string", False)},
    "Resource": {"attributes": (1, "KeyValue", True)},
    "Event": {"time": (1, "fixed64", False), "name": (2, "string", False), "attributes": (3, "KeyValue", True)},
    "Link": {"trace_id": (1, "bytes", False), "span_id": (2, "bytes", False)},
    "Status": {"message": (2, "string", False), "code": (3, "int32", False)},
    "Span": {
        "trace_id": (1, "bytes", False), "span_id": (2, "bytes", False), "trace_state": (3, "string", False), "parent_span_id": (4, "bytes", False),
        "name": (5, "string", False), "kind": (6, "int32", False), "start": (7, "fixed64", False), "end": (8, "fixed64", False),
        "attributes": (9, "KeyValue", True), "events": (11, "Event", True), "links": (13, "Link", True), "status": (15, "Status", False),
    },
    "ScopeSpans": {"scope": (1, "Scope", False), "items": (2, "Span", True)},
    "ResourceSpans": {"resource": (1, "Resource", False), "scopes": (2, "ScopeSpans", True)},
    "traces": {"resources": (1, "ResourceSpans", True)},
    "NumberPoint": {"attributes": (7, "KeyValue", True), "as_double": (4, "double", False), "as_int": (6, "sfixed64", False)},
    "HistogramPoint": {
        "attributes": (9, "KeyValue", True), "count": (4, "fixed64", False), "sum": (5, "double", False), "bounds": (7, "double", True),
    },
    "Gauge": {"points": (1, "NumberPoint", True)},
    "Sum": {"points": (1, "NumberPoint", True), "temporality": (2, "int32", False), "monotonic": (3, "bool", False)},
    "Histogram": {"points": (1, "HistogramPoint", True), "temporality": (2, "int32", False)},
    "Metric": {
        "name": (1, "string", False), "description": (2, "string", False), "unit": (3, "string", False), "gauge": (5, "Gauge", False),
        "sum": (7, "Sum", False), "histogram": (9, "Histogram", False),
    },
    "ScopeMetrics": {"scope": (1, "Scope", False), "items": (2, "Metric", True)},
    "ResourceMetrics": {"resource": (1, "Resource", False), "scopes": (2, "ScopeMetrics", True)},
    "metrics": {"resources": (1, "ResourceMetrics", True)},
    "Record": {
        "time": (1, "fixed64", False), "severity": (2, "int32", False), "severity_text": (3, "string", False), "body": (5, "AnyValue", False),
        "attributes": (6, "KeyValue", True), "trace_id": (9, "bytes", False), "span_id": (10, "bytes", False), "event_name": (12, "string", False),
    },
    "ScopeLogs": {"scope": (1, "Scope", False), "items": (2, "Record", True)},
    "ResourceLogs": {"resource": (1, "Resource", False), "scopes": (2, "ScopeLogs", True)},
    "logs": {"resources": (1, "ResourceLogs", True)},
}


def messages():
    file = descriptor_pb2.FileDescriptorProto(name="otlp.proto", package="otlp", syntax="proto3")
    scalars = descriptor_pb2.FieldDescriptorProto
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        if name in ("AnyValue", "NumberPoint"):
            message.oneof_decl.add(name="one")
        for field, (number, kind, repeated) in fields.items():
            added = message.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind in SCHEMA:
                added.type, added.type_name = scalars.TYPE_MESSAGE, ".otlp." + kind
            else:
                added.type = getattr(scalars, "TYPE_" + kind.upper())
            if name == "AnyValue" or field in ("as_double", "as_int"):
                added.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    make = getattr(message_factory, "GetMessageClass", None) or message_factory.MessageFactory(pool).GetPrototype
    return {name: make(pool.FindMessageTypeByName("otlp." + name)) for name in ("traces", "metrics", "logs")}


MESSAGES = messages()
PRINTING = threading.Lock()


def value(any_value):
    kind = any_value.WhichOneof("one")
    if kind == "array_value":
        return [value(v) for v in any_value.array_value.values]
    if kind == "kvlist_value":
        return attributes(any_value.kvlist_value.values)
    if kind == "bytes_value":
        return any_value.bytes_value.hex()
    return getattr(any_value, kind) if kind else None


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


def span(one):
    yield {
        "trace": one.trace_id.hex(), "span": one.span_id.hex(), "parent": one.parent_span_id.hex(), "state": one.trace_state, "name": one.name,
        "kind": one.kind, "start": one.start, "end": one.end, "attributes": attributes(one.attributes), "status": one.status.code,
        "events": [{"name": e.name, "attributes": attributes(e.attributes)} for e in one.events],
        "links": [{"trace": link.trace_id.hex(), "span": link.span_id.hex()} for link in one.links],
    }


def metric(one):
    kind = "gauge" if one.HasField("gauge") else "sum" if one.HasField("sum") else "histogram"
    for point in getattr(one, kind).points:
        number = point.WhichOneof("one") if kind != "histogram" else None
        yield {
            "name": one.name, "unit": one.unit, "kind": kind, "attributes": attributes(point.attributes),
            "value": getattr(point, number) if number else getattr(point, "sum", None), "count": getattr(point, "count", None),
            "bounds": list(getattr(point, "bounds", [])),
        }


def record(one):
    yield {
        "body": value(one.body), "severity": one.severity_text, "event": one.event_name, "attributes": attributes(one.attributes),
        "trace": one.trace_id.hex(), "span": one.span_id.hex(),
    }


def take(signal, protocol, headers, payload):
    items = {"traces": span, "metrics": metric, "logs": record}[signal]
    lines = []
    for resource in MESSAGES[signal].FromString(payload).resources:
        of = attributes(resource.resource.attributes)
        for scope in resource.scopes:
            for item in scope.items:
                for line in items(item):
                    lines.append({"signal": signal, "protocol": protocol, "key": headers.get("x-key"), "resource": of, "scope": scope.scope.name, **line})
    with PRINTING:
        for line in lines:
            print(json.dumps(line), flush=True)


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])) if "content-length" in self.headers else self.chunks()
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        signal = self.path.rsplit("/", 1)[-1]
        known = signal in MESSAGES and self.headers["content-type"] == "application/x-protobuf"
        if known:
            take(signal, "http" + self.path, self.headers, body)
        self.send_response(200 if known else 404)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_):
        pass


class Grpc(grpc.GenericRpcHandler):
    def service(self, details):
        # /opentelemetry.proto.collector.trace.v1.TraceService/Export
        signal = {"trace": "traces", "metrics": "metrics", "logs": "logs"}.get(details.method.split(".")[3])
        if signal is None or not details.method.endswith("Service/Export"):
            return None

        def export(payload, context):
            take(signal, "grpc", dict(context.invocation_metadata()), payload)
            return b""

        return grpc.unary_unary_rpc_method_handler(export)


def main(host, http_port, grpc_port):
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Grpc()])
    server.add_insecure_port(f"{host}:{grpc_port}")
    server.start()
    http = ThreadingHTTPServer((host, http_port), Http)
    print(json.dumps({"signal": "ready"}), flush=True)
    http.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
