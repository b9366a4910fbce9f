"""The other language of the gRPC tests: grpcio as client or as server.

grpc_peer.py client TARGET SCENARIO DESCRIPTORS   prints one JSON object: what the client saw
grpc_peer.py server TARGET DESCRIPTORS            prints its port, then a line for each call that was cancelled, until stdin ends

DESCRIPTORS: serialized FileDescriptorProtos in base64, with commas between them.
"""
import base64
import json
import sys
import threading
from concurrent import futures

import grpc
from google.protobuf import descriptor_pool, message_factory

POOL = descriptor_pool.DescriptorPool()
UNICODE = "100 % weg: λ ☂ 🜁"
LIMIT = 20


def load(descriptors):
    for descriptor in descriptors.split(","):
        POOL.AddSerializedFile(base64.b64decode(descriptor))


def message(name):
    descriptor = POOL.FindMessageTypeByName(name)
    make = getattr(message_factory, "GetMessageClass", None)
    return make(descriptor) if make else message_factory.MessageFactory(POOL).GetPrototype(descriptor)


def method(path):
    service, name = path.strip("/").split("/")
    found = POOL.FindServiceByName(service).FindMethodByName(name)
    return message(found.input_type.full_name), message(found.output_type.full_name)


def unary(channel, path):
    request, reply = method(path)
    return request, channel.unary_unary(path, request_serializer=request.SerializeToString, response_deserializer=reply.FromString)


def stream(channel, path):
    request, reply = method(path)
    return request, channel.unary_stream(path, request_serializer=request.SerializeToString, response_deserializer=reply.FromString)


def failure(call):
    try:
        call()
        return {"code": "OK"}
    except grpc.RpcError as error:
        trailers = {k: v for k, v in error.trailing_metadata() or () if isinstance(v, str)}
        return {"code": error.code().name, "details": error.details(), "trailers": trailers}


def client(target, scenario):
    compression = grpc.Compression.Gzip if scenario == "gzip" else None
    options = [("grpc.max_receive_message_length", 8 << 20)]
    with grpc.insecure_channel(target, options=options, compression=compression) as channel:
        if scenario == "unary":
            request, call = unary(channel, "/fabric.v1.Admin/Reload")

            def ask():
                reply, seen = call.with_call(request(), metadata=[("who", "me"), ("id-bin", b"\x00\xff\x07")], timeout=LIMIT)
                trailers = {k: list(v) if isinstance(v, bytes) else v for k, v in seen.trailing_metadata()}
                return {"code": seen.code().name, "revision": reply.revision, "changed": reply.changed, "trailers": trailers}

            return ask()
        if scenario == "stream":
            request, call = stream(channel, "/fabric.v1.Catalog/Watch")
            return {"sequences": [u.sequence for u in call(request(gateway="3"), timeout=LIMIT)]}
        if scenario == "stream-error":
            request, call = stream(channel, "/fabric.v1.Catalog/Watch")
            got = []
            ended = failure(lambda: got.extend(u.sequence for u in call(request(gateway="fail"), timeout=LIMIT)))
            return {**ended, "sequences": got}
        if scenario == "error":
            request, call = unary(channel, "/fabric.v1.Admin/SetFault")
            return failure(lambda: call(request(link="dx"), timeout=LIMIT))
        if scenario in ("large", "gzip"):
            request, call = unary(channel, "/fabric.v1.Admin/SetFault")
            return failure(lambda: call(request(link="x" * (5 << 20 if scenario == "large" else 10000)), timeout=LIMIT))
        if scenario == "deadline":
            request, call = unary(channel, "/fabric.v1.Admin/Drain")
            return failure(lambda: call(request(), timeout=0.3))
        if scenario == "cancel":
            request, call = stream(channel, "/fabric.v1.Catalog/Watch")
            updates = call(request(gateway="forever"), timeout=LIMIT)
            first = next(updates).sequence
            updates.cancel()
            return {**failure(lambda: next(updates)), "first": first}
        if scenario == "unknown":
            call = channel.unary_unary("/no.Such/Method")
            return failure(lambda: call(b"", timeout=LIMIT))
        if scenario == "health":
            request, call = unary(channel, "/grpc.health.v1.Health/Check")
            return {"status": call(request(), timeout=LIMIT).status, "other": failure(lambda: call(request(service="x")))["code"]}
    raise SystemExit("no scenario " + scenario)


def server(target):
    def reload(_, context):
        sent = dict(context.invocation_metadata())
        context.set_trailing_metadata([("seen-bin", sent.get("id-bin", b""))])
        _, reply = method("/fabric.v1.Admin/Reload")
        return reply(revision=sent.get("who", ""), changed=context.time_remaining() is not None)

    def set_fault(request, context):
        if request.link == "dx":
            context.set_trailing_metadata([("link", request.link)])
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, UNICODE)
        _, reply = method("/fabric.v1.Admin/SetFault")
        return reply(links=len(request.link))

    def watch_end(context):
        gone = threading.Event()

        def ended():
            print("cancelled", flush=True)
            gone.set()

        if not context.add_callback(ended):
            ended()
        return gone

    def drain(_, context):
        watch_end(context).wait(LIMIT)
        _, reply = method("/fabric.v1.Admin/Drain")
        return reply()

    def watch(request, context):
        _, reply = method("/fabric.v1.Catalog/Watch")
        if request.gateway == "forever":
            gone = watch_end(context)
            yield reply(sequence=1)
            gone.wait(LIMIT)
            return
        for sequence in range(1, int(request.gateway) + 1):
            yield reply(sequence=sequence)
        if request.gateway == "2":
            context.abort(grpc.StatusCode.ABORTED, UNICODE)

    def handler(path, behaviour, streaming=False):
        request, reply = method(path)
        make = grpc.unary_stream_rpc_method_handler if streaming else grpc.unary_unary_rpc_method_handler
        return make(behaviour, request_deserializer=request.FromString, response_serializer=reply.SerializeToString)

    serving = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    serving.add_generic_rpc_handlers([
        grpc.method_handlers_generic_handler("fabric.v1.Admin", {
            "Reload": handler("/fabric.v1.Admin/Reload", reload),
            "SetFault": handler("/fabric.v1.Admin/SetFault", set_fault),
            "Drain": handler("/fabric.v1.Admin/Drain", drain),
        }),
        grpc.method_handlers_generic_handler("fabric.v1.Catalog", {
            "Watch": handler("/fabric.v1.Catalog/Watch", watch, streaming=True),
        }),
    ])
    port = serving.add_insecure_port(target)
    serving.start()
    print(port, flush=True)
    sys.stdin.read()
    serving.stop(None).wait()


if sys.argv[1] == "client":
    load(sys.argv[4])
    print(json.dumps(client(sys.argv[2], sys.argv[3])))
else:
    load(sys.argv[3])
    server(sys.argv[2])
