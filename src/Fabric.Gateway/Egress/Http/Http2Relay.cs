using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using Fabric.Gateway.Telemetry.Traces;
using Fabric.Protocol.Http;
using Fabric.Topology;
using Fabric.Tunnel;

namespace Fabric.Gateway.Egress.Http;

/// <summary>
/// Passes HTTP/2 on, frame by frame, under the numbers and within the windows that both ends have agreed on. Requests are decoded, decided on, and
/// encoded anew without a table, so that one that is left out changes nothing for those after it; answers pass as they are, and the gateway's own
/// use no table either.
/// </summary>
/// <remarks>
/// The settings of the endpoint pass with larger frames, a larger table than is kept here, and extended CONNECT taken out, those of the caller with
/// push taken out: what a request is must be in a request.
/// </remarks>
internal sealed class Http2Relay(
    StreamEnd caller, HttpInput fromCaller, StreamEnd endpoint, IRequestJudge judge, TimeProvider time, CancellationToken stopping)
{
    private const int Gathered = 32 * 1024;
    private const int MostContinuations = 32;

    private readonly HttpInput _fromEndpoint = new(endpoint, stopping);
    private readonly Http2Streams _streams = new();
    private readonly HpackDecoder _decoder = new();
    private readonly Http2Request _request = new();
    private readonly ArrayBufferWriter<byte> _toEndpoint = new(4096);
    private readonly ArrayBufferWriter<byte> _block = new(1024);

    /// <summary>Of writes to the caller: whole frames, and blocks of fields in one piece.</summary>
    private readonly SemaphoreSlim _callerLock = new(1, 1);
    private readonly ArrayBufferWriter<byte> _own = new(256);

    /// <summary>The endpoint's first SETTINGS went to the caller: nothing may come before them (RFC 9113 §3.4).</summary>
    private readonly TaskCompletionSource _begun = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile int _tableLimit = 4096;
    private int _last;
    private bool _blockSent;

    public async Task RunAsync()
    {
        _toEndpoint.Write(HttpCarrier.Preface);
        var (up, down) = (UpAsync(), DownAsync());
        try
        {
            // Who waits for the endpoint to begin learns of its end.
            _ = down.ContinueWith(_ => _begun.TrySetResult(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            await await Task.WhenAny(up, down);
            await Task.WhenAll(up, down);
        }
        catch (Exception e) when (up.IsFaulted && e is Http2Exception or HpackException or HttpRefusedException)
        {
            endpoint.Reset(e.Message);
            judge.Refused(null, e.Message);
            await GoAwayAsync(e is HpackException ? Http2Error.Compression : (e as Http2Exception)?.Error ?? Http2Error.Protocol, e.Message);
            await HttpCarrier.LingerAsync(caller, fromCaller, time);
        }
        catch (Exception e) when (e is Http2Exception or HttpRefusedException)
        {
            throw new IOException("the endpoint does not speak HTTP/2 in order: " + e.Message, e);
        }
        finally
        {
            _streams.Clear();
            _fromEndpoint.Dispose();
        }
    }

    // ---- from the caller to the endpoint

    private async Task UpAsync()
    {
        var isFirst = true;
        Func<ValueTask> flush = () => FlushAsync(_toEndpoint, endpoint);
        while (await NextAsync(fromCaller, flush) is { } frame)
        {
            if (isFirst != (frame.Type == Http2FrameType.Settings) && isFirst)
            {
                throw new Http2Exception(Http2Error.Protocol, "the first frame is not SETTINGS");
            }

            if (frame.Type == Http2FrameType.Headers)
            {
                await FieldsAsync(frame, flush);
            }
            else
            {
                Pass(frame, fromCaller.Buffered.Span.Slice(Http2Frame.Size, frame.Length), isFirst);
                fromCaller.Take(Http2Frame.Size + frame.Length);
            }

            isFirst = false;
            if (_own.WrittenCount > 0)
            {
                // The endpoint may wait for these before it begins.
                await flush();
                await TellCallerAsync();
            }

            if (_toEndpoint.WrittenCount > Gathered)
            {
                await FlushAsync(_toEndpoint, endpoint);
            }
        }

        endpoint.CompleteWrites();
    }

    private void Pass(Http2Frame frame, ReadOnlySpan<byte> payload, bool isFirst)
    {
        var isOfStream = frame.Type is Http2FrameType.Data or Http2FrameType.ResetStream
            || (frame.Type == Http2FrameType.WindowUpdate && frame.Stream != 0);
        if ((isOfStream && (frame.Stream == 0 || frame.Stream > _last))
            || (frame.Type is Http2FrameType.Settings or Http2FrameType.Ping or Http2FrameType.GoAway && frame.Stream != 0)
            || frame.Type is Http2FrameType.PushPromise or Http2FrameType.Continuation)
        {
            throw new Http2Exception(Http2Error.Protocol, $"{frame.Type} does not belong on stream {frame.Stream} now");
        }

        var size = frame.Type switch
        {
            Http2FrameType.ResetStream or Http2FrameType.WindowUpdate => 4,
            Http2FrameType.Ping => 8,
            Http2FrameType.Settings when frame.Has(Http2Frame.Acknowledges) => 0,
            _ => frame.Length,
        };
        if (frame.Length != size || (frame.Type == Http2FrameType.Settings && frame.Length % 6 != 0))
        {
            throw new Http2Exception(Http2Error.FrameSize, $"{frame.Type} has {frame.Length} bytes");
        }

        switch (frame.Type)
        {
            case Http2FrameType.Data:
                Data(frame, payload);
                break;
            case Http2FrameType.Settings when !frame.Has(Http2Frame.Acknowledges):
                Http2Frame.Write(_toEndpoint, frame.Type, frame.Flags, 0, Http2Settings.OfCaller(payload, isFirst));
                break;
            case Http2FrameType.ResetStream or Http2FrameType.WindowUpdate when isOfStream && !_streams.IsLive(frame.Stream):
                break;
            case Http2FrameType.Settings or Http2FrameType.Ping or Http2FrameType.GoAway or Http2FrameType.WindowUpdate or Http2FrameType.ResetStream:
                Http2Frame.Write(_toEndpoint, frame.Type, frame.Flags, frame.Stream, payload);
                if (frame.Type == Http2FrameType.ResetStream)
                {
                    _streams.Reset(frame.Stream);
                }

                break;
        }
    }

    private void Data(Http2Frame frame, ReadOnlySpan<byte> payload)
    {
        var length = frame.Content(payload).Length;
        if (!_streams.IsOpen(frame.Stream))
        {
            // It counted in the window of the connection, which the endpoint does not know of.
            if (payload.Length > 0)
            {
                Http2Frame.Write(_own, Http2FrameType.WindowUpdate, 0, (uint)payload.Length);
            }

            return;
        }

        var ends = frame.Has(Http2Frame.EndStream);
        if (!_streams.Sends(frame.Stream, length, ends))
        {
            throw new Http2Exception(Http2Error.Protocol, "a body is not as long as its request said");
        }

        Http2Frame.Write(_toEndpoint, frame.Type, frame.Flags, frame.Stream, payload);
        if (ends)
        {
            _streams.CallerEnds(frame.Stream);
        }
    }

    /// <summary>A request, or its trailers: HEADERS and what continues them.</summary>
    private async Task FieldsAsync(Http2Frame frame, Func<ValueTask> flush)
    {
        var (id, ends) = (frame.Stream, frame.Has(Http2Frame.EndStream));
        _block.ResetWrittenCount();
        _block.Write(frame.Content(fromCaller.Buffered.Span.Slice(Http2Frame.Size, frame.Length)));
        fromCaller.Take(Http2Frame.Size + frame.Length);
        for (var count = 0; !frame.Has(Http2Frame.EndHeaders); count++)
        {
            frame = await NextAsync(fromCaller, flush) ?? throw new IOException("it ended within a request");
            if (frame.Type != Http2FrameType.Continuation || frame.Stream != id)
            {
                throw new Http2Exception(Http2Error.Protocol, "a block of fields is interrupted");
            }

            _block.Write(fromCaller.Buffered.Span.Slice(Http2Frame.Size, frame.Length));
            fromCaller.Take(Http2Frame.Size + frame.Length);
            if (count == MostContinuations || _block.WrittenCount > Http1Fields.MaxBytes)
            {
                throw new Http2Exception(Http2Error.EnhanceYourCalm, "a block of fields is too long");
            }
        }

        if (id % 2 == 0)
        {
            throw new Http2Exception(Http2Error.Protocol, $"a request on stream {id}");
        }

        var isTrailer = id <= _last;
        _decoder.TableLimit = Math.Max(_decoder.TableLimit, _tableLimit);
        _request.Begin(isTrailer, isFirst: !_blockSent);
        _decoder.Decode(_block.WrittenSpan, _request);
        _request.End(ends);
        if (isTrailer)
        {
            Trailer(id, ends);
        }
        else
        {
            _last = id;
            Request(id, ends);
        }
    }

    private void Trailer(int id, bool ends)
    {
        if (!_streams.IsOpen(id))
        {
            return;
        }

        if (!ends || _request.Problem is not null || !_streams.Sends(id, 0, ends: true))
        {
            throw new Http2Exception(Http2Error.Protocol, _request.Problem?.Reason ?? "trailers before the end of a body");
        }

        Http2Frame.WriteFields(_toEndpoint, id, ends: true, _request.Block);
        _blockSent = true;
        _streams.CallerEnds(id);
    }

    private void Request(int id, bool ends)
    {
        var (problem, path) = (_request.Problem, "*");
        if (problem is null && !(_request.Method == "OPTIONS" && _request.Path!.AsSpan().SequenceEqual("*"u8))
            && !RequestPath.TryRead(_request.Path, out path!, out var reason))
        {
            problem = (400, "the path " + reason);
        }

        if (problem is { } wrong)
        {
            judge.Refused(_request.Method, wrong.Reason);
            Answer(id, wrong.Status, ends);
        }
        else if (judge.Begin(_request.Method!, path, new RequestTrace(_request.TraceParent, _request.TraceState, "2")) is not { } live)
        {
            Answer(id, 403, ends);
        }
        else if (!_streams.TryBegin(id, live, _request.Length, ends))
        {
            live.Dispose();
            Http2Frame.Write(_own, Http2FrameType.ResetStream, id, (uint)Http2Error.RefusedStream);
        }
        else
        {
            _request.Trace(live.TraceParent);
            Http2Frame.WriteFields(_toEndpoint, id, ends, _request.Block);
            _blockSent = true;
        }
    }

    /// <summary>An answer of the gateway's own; of gRPC it is one of trailers only.</summary>
    private void Answer(int id, int status, bool ended)
    {
        var fields = new ArrayBufferWriter<byte>(128);
        if (_request.IsGrpc && status == 403)
        {
            HpackWriter.Field(fields, ":status"u8, "200"u8);
            HpackWriter.Field(fields, "content-type"u8, "application/grpc"u8);
            HpackWriter.Field(fields, "grpc-status"u8, "7"u8);
            HpackWriter.Field(fields, "grpc-message"u8, "fabric: no policy allows this request"u8);
        }
        else
        {
            HpackWriter.Field(fields, ":status"u8, Encoding.ASCII.GetBytes($"{status}"));
            HpackWriter.Field(fields, "content-length"u8, "0"u8);
        }

        Http2Frame.WriteFields(_own, id, ends: true, fields.WrittenSpan);
        if (!ended)
        {
            Http2Frame.Write(_own, Http2FrameType.ResetStream, id, (uint)Http2Error.None);
        }
    }

    private async Task TellCallerAsync()
    {
        await _begun.Task.WaitAsync(stopping);
        await _callerLock.WaitAsync(stopping);
        try
        {
            await FlushAsync(_own, caller);
        }
        finally
        {
            _callerLock.Release();
        }
    }

    private async Task GoAwayAsync(Http2Error error, string reason)
    {
        var payload = new byte[8 + Math.Min(reason.Length, 200)];
        BinaryPrimitives.WriteInt32BigEndian(payload, _last);
        BinaryPrimitives.WriteUInt32BigEndian(payload.AsSpan(4), (uint)error);
        Encoding.ASCII.GetBytes(reason.AsSpan(0, payload.Length - 8), payload.AsSpan(8));
        Http2Frame.Write(_own, Http2FrameType.GoAway, 0, 0, payload);
        await _begun.Task.WaitAsync(HttpCarrier.Linger, time, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (await _callerLock.WaitAsync(HttpCarrier.Linger, stopping))
        {
            await FlushAsync(_own, caller);
        }
    }

    // ---- from the endpoint to the caller

    private async Task DownAsync()
    {
        var output = new ArrayBufferWriter<byte>(4096);
        var (isFirst, inBlock, ending) = (true, false, 0);
        async ValueTask TellAsync()
        {
            // Nothing of the gateway's own may stand within a block.
            if (!inBlock && output.WrittenCount > 0)
            {
                await _callerLock.WaitAsync(stopping);
                try
                {
                    await FlushAsync(output, caller);
                }
                finally
                {
                    _callerLock.Release();
                }

                _begun.TrySetResult();
            }
        }

        Func<ValueTask> tell = TellAsync;
        while (await NextAsync(_fromEndpoint, tell) is { } frame)
        {
            if ((isFirst && frame.Type != Http2FrameType.Settings) || inBlock != (frame.Type == Http2FrameType.Continuation)
                || frame.Type == Http2FrameType.PushPromise)
            {
                throw new Http2Exception(Http2Error.Protocol, $"{frame.Type} where it may not be");
            }

            isFirst = false;
            var payload = _fromEndpoint.Buffered.Span.Slice(Http2Frame.Size, frame.Length);
            if (frame.Type == Http2FrameType.Settings && !frame.Has(Http2Frame.Acknowledges))
            {
                Http2Frame.Write(output, frame.Type, frame.Flags, 0, Http2Settings.OfEndpoint(payload, out var table));
                _tableLimit = Math.Max(_tableLimit, table);
            }
            else
            {
                Http2Frame.Write(output, frame.Type, frame.Flags, frame.Stream, payload);
            }

            if (frame.Type == Http2FrameType.Headers)
            {
                _streams.Answered(frame.Stream, Http2Status.Of(frame.Content(payload)));
            }

            _fromEndpoint.Take(Http2Frame.Size + frame.Length);
            if (frame.Type is Http2FrameType.Headers or Http2FrameType.Data && frame.Has(Http2Frame.EndStream))
            {
                ending = frame.Stream;
            }

            inBlock = frame.Type is Http2FrameType.Headers or Http2FrameType.Continuation && !frame.Has(Http2Frame.EndHeaders);
            if (output.WrittenCount > (inBlock ? Http1Fields.MaxBytes * 4 : Gathered))
            {
                await (inBlock ? throw new Http2Exception(Http2Error.EnhanceYourCalm, "a block of fields is too long") : TellAsync());
            }

            if (frame.Type == Http2FrameType.ResetStream)
            {
                _streams.Reset(frame.Stream);
            }
            else if (ending != 0 && !inBlock)
            {
                _streams.EndpointEnds(ending);
                ending = 0;
            }
        }

        caller.CompleteWrites();
    }

    // ---- both

    /// <summary>The next frame, which is buffered whole then; null at the end. What is gathered leaves before it is waited for.</summary>
    private static async ValueTask<Http2Frame?> NextAsync(HttpInput input, Func<ValueTask> flush)
    {
        while (true)
        {
            if (input.Buffered.Length >= Http2Frame.Size)
            {
                var frame = Http2Frame.Read(input.Buffered.Span);
                if (frame.Length > Http2Frame.MaxPayload)
                {
                    throw new Http2Exception(Http2Error.FrameSize, $"a frame of {frame.Length} bytes");
                }

                if (input.Buffered.Length >= Http2Frame.Size + frame.Length)
                {
                    return frame;
                }
            }

            await flush();
            if (!await input.FillAsync())
            {
                return input.Buffered.IsEmpty ? null : throw new IOException("it ended within a frame");
            }
        }
    }

    private async ValueTask FlushAsync(ArrayBufferWriter<byte> output, StreamEnd to)
    {
        if (output.WrittenCount > 0)
        {
            await to.WriteAsync(output.WrittenMemory, stopping);
            output.ResetWrittenCount();
        }
    }
}
