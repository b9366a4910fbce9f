using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns.Forwarding;

/// <summary>An upstream's answer was not one; the message says why.</summary>
internal sealed class DnsExchangeException(string message) : Exception(message);

/// <summary>
/// One question to one server. Over UDP from a socket of its own, whose port the kernel draws at random (RFC 6056, RFC 5452 §9.2) and which takes
/// datagrams from that server alone; over TCP when the answer is truncated, and when what comes looks like forgery: then a forger has had
/// <see cref="MaxMismatches"/> guesses, and no more.
/// </summary>
internal static class DnsUpstreamExchange
{
    /// <summary>Datagrams from the server's address that are not the answer, until it is asked by TCP.</summary>
    public const int MaxMismatches = 16;

    /// <summary>More than the 1,232 that were offered: what is longer is cut, and thus malformed.</summary>
    private const int UdpBuffer = 4096;

    /// <exception cref="DnsExchangeException">What came is no answer.</exception>
    /// <exception cref="SocketException">It is out of reach, or refuses.</exception>
    public static async Task<DnsResponse> AskAsync(IPEndPoint server, DnsForwardQuery query, CancellationToken cancellationToken) =>
        await AskUdpAsync(server, query, cancellationToken) is { IsTruncated: false } response
            ? response
            : await AskTcpAsync(server, query, cancellationToken);

    /// <summary>Null: ask by TCP.</summary>
    private static async Task<DnsResponse?> AskUdpAsync(IPEndPoint server, DnsForwardQuery query, CancellationToken cancellationToken)
    {
        using var socket = new Socket(server.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        await socket.ConnectAsync(server, cancellationToken);
        await socket.SendAsync(query.Message, SocketFlags.None, cancellationToken);
        var buffer = new byte[UdpBuffer];
        for (var mismatches = 0; mismatches < MaxMismatches; mismatches++)
        {
            var length = await socket.ReceiveAsync(buffer, SocketFlags.None, cancellationToken);
            switch (DnsResponse.Match(buffer.AsSpan(0, length), query.Id, query.Question))
            {
                case DnsMatch.Answer when DnsResponse.TryRead(buffer.AsSpan(0, length), query.QuestionLength, out var response):
                    return response;
                case DnsMatch.Answer:
                case DnsMatch.OtherCase:
                    return null;
            }
        }

        return null;
    }

    private static async Task<DnsResponse> AskTcpAsync(IPEndPoint server, DnsForwardQuery query, CancellationToken cancellationToken)
    {
        using var socket = new Socket(server.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(server, cancellationToken);
        await using var stream = new NetworkStream(socket, ownsSocket: false);
        var request = new byte[2 + query.Message.Length];
        BinaryPrimitives.WriteUInt16BigEndian(request, (ushort)query.Message.Length);
        query.Message.CopyTo(request.AsMemory(2));
        await stream.WriteAsync(request, cancellationToken);

        var head = new byte[2];
        await ReadAsync(stream, head, cancellationToken);
        var message = new byte[BinaryPrimitives.ReadUInt16BigEndian(head)];
        await ReadAsync(stream, message, cancellationToken);
        // On a connection that we opened the case of letters has nothing to prove.
        return DnsResponse.Match(message, query.Id, query.Question) != DnsMatch.None
            && DnsResponse.TryRead(message, query.QuestionLength, out var response) && !response.IsTruncated
            ? response
            : throw new DnsExchangeException("its answer is malformed, or says what was not asked");
    }

    private static async Task ReadAsync(NetworkStream stream, byte[] buffer, CancellationToken cancellationToken)
    {
        try
        {
            await stream.ReadExactlyAsync(buffer, cancellationToken);
        }
        catch (EndOfStreamException)
        {
            throw new DnsExchangeException("it closed the connection without an answer");
        }
        catch (IOException e)
        {
            throw new DnsExchangeException(e.InnerException?.Message ?? e.Message);
        }
    }
}
