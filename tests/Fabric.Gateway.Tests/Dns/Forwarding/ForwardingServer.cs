using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Dns;
using Fabric.Gateway.Dns.Forwarding;
using Fabric.Protocol.Dns;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;

namespace Fabric.Gateway.Tests.Dns.Forwarding;

/// <summary>A server with a forwarder, and how to ask it.</summary>
internal sealed class ForwardingServer : IAsyncDisposable
{
    private static readonly DnsZone _zone = Zone();

    public ForwardingServer(DnsForwardRules rules, DnsForwarderOptions? options = null, TimeProvider? time = null, IPEndPoint? listen = null,
        bool portable = false, Func<DnsServerOptions, DnsServerOptions>? with = null)
    {
        Forwarder = new DnsForwarder(options ?? new DnsForwarderOptions(), time ?? TimeProvider.System);
        Forwarder.Follow(rules);
        var server = new DnsServerOptions
        {
            Listen = [listen ?? new IPEndPoint(IPAddress.Loopback, 0)],
            Forwarder = Forwarder,
            Portable = portable,
        };
        Server = new DnsServer(with?.Invoke(server) ?? server, () => _zone, time ?? TimeProvider.System);
        Server.Start();
    }

    public DnsForwarder Forwarder { get; }

    public DnsServer Server { get; }

    public IPEndPoint EndPoint => Server.EndPoints[0];

    public static DnsForwardRules To(params IPEndPoint[] servers) => new() { Zones = [new DnsForwardZone(DnsName.Root, [.. servers])] };

    public async Task<DnsMessage> AskAsync(string name, DnsType type = DnsType.A, bool edns = true) =>
        await AskAsync(Query(name, type) with { Additionals = edns ? [Opt] : [] });

    public async Task<DnsMessage> AskAsync(DnsMessage query) => await AskAsync(EndPoint, query);

    /// <param name="server">Whom to ask.</param>
    /// <param name="query">What.</param>
    /// <param name="from">Address of the asker; null: as the kernel likes.</param>
    public static async Task<DnsMessage> AskAsync(IPEndPoint server, DnsMessage query, string? from = null)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        if (from is not null)
        {
            socket.Bind(new IPEndPoint(IPAddress.Parse(from), 0));
        }

        await socket.ConnectAsync(server);
        await socket.SendAsync(query.Bytes());
        var buffer = new byte[4096];
        var answer = Read(buffer.AsSpan(0, await socket.ReceiveAsync(buffer).WaitAsync(Wait.Limit)));
        Assert.Equal(query.Id, answer.Id);
        return answer;
    }

    public async Task<DnsMessage> AskTcpAsync(DnsMessage query)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(EndPoint);
        var stream = client.GetStream();
        var bytes = query.Bytes();
        await stream.WriteAsync(new[] { (byte)(bytes.Length >> 8), (byte)bytes.Length }.Concat(bytes).ToArray());
        var prefix = new byte[2];
        await stream.ReadExactlyAsync(prefix).AsTask().WaitAsync(Wait.Limit);
        var answer = new byte[BinaryPrimitives.ReadUInt16BigEndian(prefix)];
        await stream.ReadExactlyAsync(answer).AsTask().WaitAsync(Wait.Limit);
        return Read(answer);
    }

    /// <summary>Code and text of the Extended DNS Error; null when there is none.</summary>
    public static (DnsExtendedError Code, string Text)? Reason(DnsMessage message) =>
        message.Opt?.Data is DnsOpt { Options: [{ Code: 15 } error] }
            ? ((DnsExtendedError)(error.Data[0] << 8 | error.Data[1]), System.Text.Encoding.UTF8.GetString(error.Data.AsSpan()[2..]))
            : null;

    public async ValueTask DisposeAsync()
    {
        await Server.DisposeAsync();
        await Forwarder.DisposeAsync();
    }
}
