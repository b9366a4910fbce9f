using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Fabric.Gateway.Egress.Http;
using Fabric.Gateway.Telemetry.Traces;
using Fabric.Testing;
using Fabric.Tunnel;

namespace Fabric.Gateway.Tests.Egress.Http;

/// <summary>A carrier of requests between sockets: callers connect to <see cref="Port"/>, and what passes goes to an endpoint.</summary>
internal sealed class CarrierBench : IAsyncDisposable, IRequestJudge
{
    private readonly TcpListener _front = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly Func<string, string, bool> _allows;
    private readonly int _endpoint;
    private readonly ConcurrentDictionary<object, byte> _live = new();

    public CarrierBench(int endpoint, Func<string, string, bool>? allows = null)
    {
        (_endpoint, _allows) = (endpoint, allows ?? ((_, path) => !path.StartsWith("/deny", StringComparison.Ordinal)));
        _front.Start();
        _ = AcceptAsync();
    }

    public int Port => ((IPEndPoint)_front.LocalEndpoint).Port;

    public ConcurrentQueue<string> Asked { get; } = new();

    public ConcurrentQueue<string> Problems { get; } = new();

    /// <summary>Requests under way.</summary>
    public int Live => _live.Count;

    /// <summary>What the endpoint gets in place of the traceparent that the caller sent; null: that one.</summary>
    public string? TraceParent { get; init; }

    /// <summary>Traceparent, tracestate and version of each request.</summary>
    public ConcurrentQueue<RequestTrace> Traces { get; } = new();

    /// <summary>Statuses of answers.</summary>
    public ConcurrentQueue<int> Statuses { get; } = new();

    public ILiveRequest? Begin(string method, string path, in RequestTrace trace)
    {
        Traces.Enqueue(trace);
        Asked.Enqueue($"{method} {path}");
        if (!_allows(method, path))
        {
            return null;
        }

        var request = new Request(this);
        _live[request] = 0;
        return request;
    }

    public void Refused(string? method, string reason) => Problems.Enqueue(reason);

    public TimeProvider Time { get; init; } = TimeProvider.System;

    public async Task<TcpClient> ConnectAsync()
    {
        var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, Port).WaitAsync(Wait.Limit);
        return client;
    }

    /// <summary>Sends it all, and reads to the end, however that comes.</summary>
    public async Task<string> ExchangeAsync(byte[] bytes, bool half = true)
    {
        using var client = await ConnectAsync();
        var stream = client.GetStream();
        await stream.WriteAsync(bytes);
        if (half)
        {
            client.Client.Shutdown(SocketShutdown.Send);
        }

        var answer = new MemoryStream();
        try
        {
            await stream.CopyToAsync(answer).WaitAsync(Wait.Limit);
        }
        catch (IOException)
        {
            answer.Write("(reset)"u8);
        }

        return Encoding.Latin1.GetString(answer.ToArray());
    }

    public Task<string> ExchangeAsync(string text, bool half = true) => ExchangeAsync(Encoding.Latin1.GetBytes(text), half);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _front.Dispose();
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                _ = CarryAsync(await _front.AcceptSocketAsync());
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Stopped.
        }
    }

    private async Task CarryAsync(Socket socket)
    {
        using var endpoint = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await endpoint.ConnectAsync(IPAddress.Loopback, _endpoint);
        var (caller, behind) = (new End(socket), new End(endpoint));
        try
        {
            socket.NoDelay = endpoint.NoDelay = true;
            await HttpCarrier.RunAsync(caller, behind, this, Time, _stop.Token);
            caller.CompleteWrites();
            socket.Dispose();
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException or OperationCanceledException)
        {
            caller.Reset(e.Message);
            behind.Reset(e.Message);
        }
        catch (Exception e)
        {
            Problems.Enqueue("unexpected: " + e);
            caller.Reset(e.Message);
        }
    }

    private sealed class Request(CarrierBench bench) : ILiveRequest
    {
        public string? TraceParent => bench.TraceParent;

        public void Answered(int status) => bench.Statuses.Enqueue(status);

        public void Dispose() => bench._live.TryRemove(this, out _);
    }

    private sealed class End(Socket socket) : StreamEnd(new NetworkStream(socket, ownsSocket: false))
    {
        public override void CompleteWrites()
        {
            try
            {
                socket.Shutdown(SocketShutdown.Send);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // It is over.
            }
        }

        public override void Reset(string reason)
        {
            try
            {
                socket.LingerState = new LingerOption(true, 0);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // It is over.
            }

            socket.Dispose();
        }
    }
}

/// <summary>An endpoint that keeps all that it is sent, and answers each line that is empty with what it was told to.</summary>
internal sealed class RecordingEndpoint : IDisposable
{
    public const string Answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly StringBuilder _received = new();
    private readonly string _answer;

    public RecordingEndpoint(string answer = Answer)
    {
        _answer = answer;
        _listener.Start();
        _ = AcceptAsync();
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    public string Received
    {
        get
        {
            lock (_received)
            {
                return _received.ToString();
            }
        }
    }

    public void Dispose() => _listener.Dispose();

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                _ = ServeAsync(await _listener.AcceptTcpClientAsync());
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Stopped.
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        using (client)
        {
            try
            {
                var (buffer, all, answered) = (new byte[4096], "", 0);
                while (await client.GetStream().ReadAsync(buffer) is var read and > 0)
                {
                    var text = Encoding.Latin1.GetString(buffer, 0, read);
                    lock (_received)
                    {
                        _received.Append(text);
                    }

                    // An empty line may come in two pieces.
                    all += text;
                    for (var heads = all.Split("\r\n\r\n").Length - 1; answered < heads && _answer.Length > 0; answered++)
                    {
                        await client.GetStream().WriteAsync(Encoding.Latin1.GetBytes(_answer));
                    }
                }
            }
            catch (IOException)
            {
                // As it was told to.
            }
        }
    }
}
