using Fabric.Tunnel.Linux;

namespace Fabric.Tunnel.Tests.Linux;

/// <summary>One direction of a connection in memory: what is sent waits until it is received.</summary>
internal sealed class TlsWire
{
    private const int BrokenPipe = 32;

    private readonly List<byte> _bytes = [];

    /// <summary>Bytes that it holds at most.</summary>
    public int Room { get; set; } = int.MaxValue;

    /// <summary>Bytes that it takes at most until the end of the test.</summary>
    public int Allowance { get; set; } = int.MaxValue;

    /// <summary>How many bytes pass in one call.</summary>
    public Func<int> Piece { get; set; } = () => int.MaxValue;

    /// <summary>Nothing comes after what it holds.</summary>
    public bool Ended { get; set; }

    /// <summary>The receiver is gone.</summary>
    public bool Broken { get; set; }

    public int Length => _bytes.Count;

    public void Put(ReadOnlySpan<byte> bytes) => _bytes.AddRange(bytes);

    public void Clear() => _bytes.Clear();

    public void Flip(int at) => _bytes[at] ^= 1;

    public void Cut(int count) => _bytes.RemoveRange(_bytes.Count - count, count);

    public int Take(Span<byte> buffer)
    {
        var count = Math.Min(Math.Min(buffer.Length, _bytes.Count), Piece());
        if (count == 0)
        {
            return Ended ? 0 : -ITlsTransport.TryAgain;
        }

        _bytes[..count].CopyTo(buffer);
        _bytes.RemoveRange(0, count);
        return count;
    }

    public int Send(ReadOnlySpan<byte> bytes, bool moreFollows)
    {
        var count = Math.Min(Math.Min(bytes.Length, Room - _bytes.Count), Math.Min(Piece(), Allowance));
        Allowance -= count;
        Put(bytes[..count]);
        return Broken ? -BrokenPipe : count > 0 ? count : -ITlsTransport.TryAgain;
    }
}

/// <summary>One end of a connection in memory.</summary>
internal sealed class TlsMemory(TlsWire @in, TlsWire @out) : ITlsTransport
{
    public TlsWire In => @in;

    public TlsWire Out => @out;

    public int Receive(Span<byte> buffer) => @in.Take(buffer);

    public int Send(ReadOnlySpan<byte> bytes, bool moreFollows) => @out.Send(bytes, moreFollows);
}

/// <summary>Client and server in one thread, with all that lies between them in the test's hands.</summary>
internal sealed class TlsMemoryPair : IDisposable
{
    public TlsMemoryPair(TlsContext client, TlsContext server, string[]? offered = null, string? expected = null)
    {
        Client = TlsSession.Client(client, new TlsMemory(ToClient, ToServer), offered?[0] ?? "fabric/1", expected);
        Server = TlsSession.Server(server, new TlsMemory(ToServer, ToClient), ["fabric/1", "fabric-join/1"]);
    }

    public TlsWire ToClient { get; } = new();

    public TlsWire ToServer { get; } = new();

    public TlsSession Client { get; }

    public TlsSession Server { get; }

    /// <summary>Until both have ended or neither gets on.</summary>
    public (TlsStatus Client, TlsStatus Server) Shake()
    {
        while (true)
        {
            var before = (Client.BytesSent, Server.BytesSent, Client.BytesReceived, Server.BytesReceived);
            var client = Client.Handshake();
            Client.Flush();
            var server = Server.Handshake();
            Server.Flush();
            if (before == (Client.BytesSent, Server.BytesSent, Client.BytesReceived, Server.BytesReceived))
            {
                return (client, server);
            }
        }
    }

    public void Dispose()
    {
        Client.Dispose();
        Server.Dispose();
    }
}
