using System.Net;
using System.Net.Sockets;
using Fabric.Testing;
using Fabric.Tunnel.Linux;

namespace Fabric.Tunnel.Tests.Linux;

/// <summary>A session over a socket, driven as an event loop would, by one task.</summary>
internal sealed class TlsEnd(TlsSession session, Socket socket) : IDisposable
{
    public TlsSession Session => session;

    public Socket Socket => socket;

    /// <summary>Two ends of a TCP connection on loopback.</summary>
    public static async Task<(Socket Client, Socket Server)> ConnectAsync()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await client.ConnectAsync(listener.LocalEndPoint!);
        var server = await listener.AcceptAsync();
        server.NoDelay = true;
        return (client, server);
    }

    /// <summary>Both ends by libssl, shaken hands.</summary>
    public static async Task<(TlsEnd Client, TlsEnd Server)> PairAsync(TlsContext client, TlsContext server)
    {
        var (near, far) = await ConnectAsync();
        var ends = (Client: new TlsEnd(TlsSession.Client(client, Over(near), "fabric/1", null), near),
            Server: new TlsEnd(TlsSession.Server(server, Over(far), ["fabric/1"]), far));
        Assert.Equal([TlsStatus.Done, TlsStatus.Done], await Task.WhenAll(ends.Client.HandshakeAsync(), ends.Server.HandshakeAsync()));
        return ends;
    }

    public static TlsSocket Over(Socket socket) => new((int)socket.Handle);

    public async Task<TlsStatus> HandshakeAsync()
    {
        while (true)
        {
            var status = session.Handshake();
            Assert.Equal(TlsStatus.Done, session.Flush());
            if (status != TlsStatus.WantRead)
            {
                return status;
            }

            await ReadableAsync();
        }
    }

    /// <summary>Reads until bytes came or nothing comes any more.</summary>
    public async Task<(int Count, TlsStatus Status)> ReadAsync(Memory<byte> buffer)
    {
        while (true)
        {
            var count = session.Read(buffer.Span, out var status);
            await FlushAsync();
            if (count > 0 || status != TlsStatus.WantRead)
            {
                return (count, status);
            }

            await ReadableAsync();
        }
    }

    public async Task ReadExactlyAsync(Memory<byte> buffer)
    {
        while (buffer.Length > 0)
        {
            var (count, status) = await ReadAsync(buffer);
            Assert.True(count > 0, $"{status}: {session.Error}");
            buffer = buffer[count..];
        }
    }

    public async Task WriteAsync(ReadOnlyMemory<byte> data)
    {
        while (data.Length > 0)
        {
            data = data[session.Write(data.Span, out var status)..];
            Assert.True(status is TlsStatus.Done or TlsStatus.WantWrite, $"{status}: {session.Error}");
            await FlushAsync();
        }
    }

    public async Task FlushAsync()
    {
        while (session.Flush() == TlsStatus.WantWrite)
        {
            await Task.Delay(1).WaitAsync(Wait.Limit);
        }
    }

    public async Task CloseAsync()
    {
        session.SendCloseNotify();
        await FlushAsync();
    }

    private async Task ReadableAsync()
    {
        try
        {
            await socket.ReceiveAsync(Memory<byte>.Empty).AsTask().WaitAsync(Wait.Limit);
        }
        catch (SocketException)
        {
            // A receive of the session finds the same.
        }
    }

    public void Dispose()
    {
        session.Dispose();
        socket.Dispose();
    }
}
