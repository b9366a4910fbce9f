using System.Buffers;
using System.Text;
using Fabric.Gateway.Telemetry.Traces;
using Fabric.Protocol.Http;
using Fabric.Topology;
using Fabric.Tunnel;

namespace Fabric.Gateway.Egress.Http;

/// <summary>
/// Passes HTTP/1.1 on, one request after the other: each is read whole as far as its head goes, decided on, and written anew. The next one is
/// looked at when the answer is through, so that an answer of the gateway's own stands where the caller looks for it.
/// </summary>
internal sealed class Http1Relay(
    StreamEnd caller, HttpInput requests, StreamEnd endpoint, IRequestJudge judge, TimeProvider time, CancellationToken stopping)
{
    private readonly HttpInput _responses = new(endpoint, stopping);
    private readonly ArrayBufferWriter<byte> _output = new(2048);
    private readonly Http1Request _request = new();
    private readonly Http1Response _response = new();
    private string? _method;
    private bool _answerBegan;
    private Task<bool> _body = Task.FromResult(true);
    private Task<bool> _answer = Task.FromResult(true);

    public async Task RunAsync()
    {
        try
        {
            while (await NextAsync() is { Length: > 0 } head)
            {
                if (!await ServeAsync(head))
                {
                    break;
                }
            }

            endpoint.CompleteWrites();
            await EndAsync();
        }
        catch (HttpRefusedException refused)
        {
            // What went on to the endpoint must not look whole there.
            endpoint.Reset(refused.Message);
            judge.Refused(_method, refused.Message);
            if (_method is null && refused.Status == 502)
            {
                // Nobody waits for an answer.
                await EndAsync();
                return;
            }

            if (!await EndsAsync(_answer) || _answerBegan)
            {
                throw new IOException(refused.Message, refused);
            }

            await AnswerAsync(refused.Status, closes: true);
            await EndAsync();
        }
        finally
        {
            _responses.Dispose();
        }
    }

    /// <summary>In order, if nothing is read of the caller any more.</summary>
    private async Task EndAsync()
    {
        caller.CompleteWrites();
        if (await EndsAsync(_body))
        {
            await HttpCarrier.LingerAsync(caller, requests, time);
        }
    }

    /// <summary>Whether it is over, in whatever way, or soon is.</summary>
    private async Task<bool> EndsAsync(Task task)
    {
        await task.WaitAsync(HttpCarrier.Linger, time).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return task.IsCompleted;
    }

    /// <summary>The head of the next request; empty when there is none.</summary>
    private async Task<ReadOnlyMemory<byte>> NextAsync()
    {
        (_answerBegan, _method) = (false, null);
        if (!_responses.Buffered.IsEmpty)
        {
            throw Unasked();
        }

        var (seen, skipped) = (0, false);
        CancellationTokenSource? limit = null;
        try
        {
            while (true)
            {
                var bytes = requests.Buffered;
                if (!skipped && bytes.Length >= 2 && bytes.Span.StartsWith("\r\n"u8))
                {
                    // Some send one after a body (RFC 9112 §2.2).
                    requests.Take(2);
                    skipped = true;
                    continue;
                }

                if (Http1Fields.End(bytes.Span, seen) is var end and > 0)
                {
                    return bytes[..end];
                }

                seen = bytes.Length;
                if (seen > 0)
                {
                    limit ??= new CancellationTokenSource(HttpCarrier.HeadLimit, time);
                }

                // The endpoint may end an idle connection; it has nothing to say before it is asked.
                if (await Task.WhenAny(requests.Filling, _responses.Filling).WaitAsync(limit?.Token ?? stopping) == _responses.Filling)
                {
                    return await _responses.FillAsync() ? throw Unasked() : default;
                }

                if (!await requests.FillAsync())
                {
                    return seen == 0 ? default : throw new HttpRefusedException(400, "it ended within a head");
                }
            }
        }
        catch (OperationCanceledException) when (limit?.IsCancellationRequested == true)
        {
            throw new HttpRefusedException(408, $"a head takes longer than {HttpCarrier.HeadLimit.TotalSeconds:0} s");
        }
        finally
        {
            limit?.Dispose();
        }
    }

    private static HttpRefusedException Unasked() => new(502, "the endpoint answers what nobody asked");

    /// <summary>False when the connection is over.</summary>
    private async Task<bool> ServeAsync(ReadOnlyMemory<byte> head)
    {
        _request.Read(head);
        _method = _request.Method;
        string? path = "*";
        if (!_request.Target.SequenceEqual("*"u8) && !RequestPath.TryRead(_request.Target, out path, out var problem))
        {
            throw new HttpRefusedException(400, "the path " + problem);
        }

        using var live = judge.Begin(_request.Method, path, new RequestTrace(_request.TraceParent, _request.TraceState, "1.1"));
        if (live is null)
        {
            var closes = _request.Closes || _request.Body != HttpBody.None;
            requests.Take(head.Length);
            await AnswerAsync(403, closes);
            return !closes;
        }

        _output.ResetWrittenCount();
        _request.Write(_output, live.TraceParent);
        requests.Take(head.Length);
        await endpoint.WriteAsync(_output.WrittenMemory, stopping);
        return await ExchangeAsync(live);
    }

    private async Task<bool> ExchangeAsync(ILiveRequest live)
    {
        (_body, _answer) = (SendBodyAsync(), ReceiveAsync(live));
        if (await Task.WhenAny(_body, _answer) == _body)
        {
            // One that cannot be read ends the exchange at once.
            await _body;
            if (requests.Buffered.IsEmpty && await Task.WhenAny(requests.Filling, _answer) == requests.Filling && !await requests.Filling)
            {
                // A caller that goes while it is answered, or says that this was all: the endpoint may want to know.
                endpoint.CompleteWrites();
            }
        }

        var goesOn = await _answer;
        if (_response.Status == 101)
        {
            await _body;
            await TunnelAsync();
            return false;
        }

        // The end of the connection ends a body that nobody waits for.
        return goesOn && await _body && !_request.Closes;
    }

    /// <summary>False when the endpoint took it no more: it may have answered before.</summary>
    private async Task<bool> SendBodyAsync()
    {
        if (_request.Body == HttpBody.None)
        {
            return true;
        }

        try
        {
            await Http1Body.PassAsync(_request.Body, _request.Length, requests, endpoint, stopping);
            return true;
        }
        catch (IOException e) when (e.InnerException is System.Net.Sockets.SocketException)
        {
            return false;
        }
    }

    /// <summary>The answer, and those before it that are none yet. False when it is the last one.</summary>
    private async Task<bool> ReceiveAsync(ILiveRequest live)
    {
        if (_responses.IsFilling && !await _responses.FillAsync())
        {
            // Begun while nothing was asked: what it brings is of this answer, and must not be taken for one that comes after it.
            throw new HttpRefusedException(502, "the endpoint ended before it answered");
        }

        do
        {
            var seen = 0;
            int end;
            while ((end = Http1Fields.End(_responses.Buffered.Span, seen)) < 0)
            {
                seen = _responses.Buffered.Length;
                if (!await _responses.FillAsync())
                {
                    throw new HttpRefusedException(502, "the endpoint ended before it answered");
                }
            }

            _response.Read(_responses.Buffered[..end], _request.Method, _request.IsWebSocket);
            _output.ResetWrittenCount();
            _response.Write(_output);
            _responses.Take(end);
            _answerBegan = true;
            await caller.WriteAsync(_output.WrittenMemory, stopping);
        }
        while (_response.IsInterim);
        live.Answered(_response.Status);
        await Http1Body.PassAsync(_response.Body, _response.Length, _responses, caller, stopping);
        return !_response.Closes;
    }

    /// <summary>After an upgrade: bytes, both ways.</summary>
    private async Task TunnelAsync()
    {
        async Task OneWayAsync(HttpInput from, StreamEnd to)
        {
            await Http1Body.CopyAsync(from, to, null, stopping);
            to.CompleteWrites();
        }

        await Task.WhenAll(OneWayAsync(requests, endpoint), OneWayAsync(_responses, caller));
    }

    /// <summary>An answer of the gateway's own. Why is told in the audit log, and not to who asked.</summary>
    private async Task AnswerAsync(int status, bool closes)
    {
        var (phrase, text) = status switch
        {
            400 => ("Bad Request", "the request cannot be read in one way only"),
            403 => ("Forbidden", "no policy allows this request"),
            405 => ("Method Not Allowed", "there are no tunnels here"),
            408 => ("Request Timeout", "the request took too long"),
            431 => ("Request Header Fields Too Large", "the request is too large"),
            505 => ("HTTP Version Not Supported", "HTTP/1.1, or HTTP/2 from its preface on"),
            _ => ("Bad Gateway", "the service did not answer in order"),
        };
        text = $"fabric: {text}\n";
        var body = _method == "HEAD" ? "" : text;
        _answerBegan = true;
        await caller.WriteAsync(Encoding.ASCII.GetBytes(
            $"HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain\r\nContent-Length: {text.Length}\r\n{(status == 405 ? "Allow: GET, POST\r\n" : "")}"
            + $"{(closes ? "Connection: close\r\n" : "")}\r\n{body}"), stopping);
    }
}
