using System.Buffers;
using System.Buffers.Binary;
using Fabric.Gateway.Dns.Forwarding;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

/// <summary>Who asks over a connection.</summary>
/// <param name="Address">4 or 16 bytes.</param>
/// <param name="Tls">Whether by DNS over TLS.</param>
internal readonly record struct DnsTcpClient(byte[] Address, bool Tls)
{
    /// <summary>How long the connection may be idle: told to who asks (RFC 7828).</summary>
    public TimeSpan KeepAlive { get; init; }
}

/// <returns>Bytes of the response; 0: no answer is due; negative: the forwarder is to be asked.</returns>
internal delegate int DnsTcpAnswerer(ReadOnlySpan<byte> query, Span<byte> response, in DnsTcpClient client);

internal delegate ValueTask<DnsAnswerWriter> DnsTcpForwarder(ReadOnlyMemory<byte> query, DnsTcpClient client);

/// <summary>
/// One connection: read messages, each behind its two length octets → answer all that are there → write. A client may send ahead without
/// waiting; it is read on only after it took its answers, so that it bounds itself. A query that others have to be asked for holds up
/// none of those behind it: its answer leaves when it comes (RFC 7766 §6.2.1.1). So many may be under way; with one more, the client is read
/// on when one of them has ended.
/// </summary>
internal sealed class DnsTcpConnection(
    Stream stream, DnsTcpClient client, int inFlight, DnsTcpAnswerer answer, DnsTcpForwarder forward)
{
    private const int LengthPrefix = 2;
    private const int IdleBuffer = 1024;

    private readonly SemaphoreSlim _places = new(inFlight);
    private readonly SemaphoreSlim _writing = new(1);

    /// <summary>Asked for each query.</summary>
    public required Func<TimeSpan> KeepAlive { get; init; }

    /// <summary>Called when queries have come whole, and when a late answer was taken.</summary>
    public required Action Stirred { get; init; }

    /// <summary>Ends when the client ends it and has all its answers, or with what the stream throws.</summary>
    public async Task ExchangeAsync(CancellationToken stop)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(IdleBuffer);
        try
        {
            var filled = 0;
            while (await stream.ReadAsync(buffer.AsMemory(filled), stop) is > 0 and var received)
            {
                filled += received;
                var consumed = await AnswerAllAsync(buffer.AsMemory(0, filled), stop);
                if (consumed > 0)
                {
                    Stirred();
                    buffer.AsSpan(consumed, filled - consumed).CopyTo(buffer);
                    filled -= consumed;
                }

                buffer = Fit(buffer, filled);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }

        // Who has no more questions may want the answers all the same (RFC 7766 §6.2.4): all places are free when all have left.
        for (var i = 0; i < inFlight; i++)
        {
            await _places.WaitAsync(stop);
        }
    }

    /// <summary>Answers every whole message in <paramref name="input"/>; returns how many bytes these took.</summary>
    private async ValueTask<int> AnswerAllAsync(ReadOnlyMemory<byte> input, CancellationToken stop)
    {
        var consumed = 0;
        if (MessageLength(input.Span) is null)
        {
            return 0;
        }

        // Rented only while there is work: an idle connection holds one small buffer.
        var output = ArrayPool<byte>.Shared.Rent(LengthPrefix + DnsLimits.Tcp);
        try
        {
            var pending = 0;
            while (MessageLength(input.Span[consumed..]) is { } length)
            {
                // An answer of any size must fit whole.
                if (output.Length - pending < LengthPrefix + DnsLimits.Tcp)
                {
                    pending = await WriteAsync(output, pending, stop);
                }

                var query = input.Slice(consumed + LengthPrefix, length);
                var asking = client with { KeepAlive = KeepAlive() };
                var answered = answer(query.Span, output.AsSpan(pending + LengthPrefix, DnsLimits.Tcp), asking);
                consumed += LengthPrefix + length;
                if (answered > 0)
                {
                    BinaryPrimitives.WriteUInt16BigEndian(output.AsSpan(pending), (ushort)answered);
                    pending += LengthPrefix + answered;
                }
                else if (answered < 0)
                {
                    if (!_places.Wait(0, CancellationToken.None))
                    {
                        // What is answered already does not wait for others.
                        pending = await WriteAsync(output, pending, stop);
                        await _places.WaitAsync(stop);
                    }

                    _ = ForwardAsync(query.ToArray(), asking, stop);
                }
            }

            await WriteAsync(output, pending, stop);
            return consumed;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(output);
        }
    }

    private async Task ForwardAsync(byte[] query, DnsTcpClient asking, CancellationToken stop)
    {
        try
        {
            var write = await forward(query, asking);
            await _writing.WaitAsync(stop);
            // Rented only now: an answer that waits for its turn holds no buffer for the largest one.
            var output = ArrayPool<byte>.Shared.Rent(LengthPrefix + DnsLimits.Tcp);
            try
            {
                var length = write(output.AsSpan(LengthPrefix, DnsLimits.Tcp));
                BinaryPrimitives.WriteUInt16BigEndian(output, (ushort)length);
                await stream.WriteAsync(output.AsMemory(0, length > 0 ? LengthPrefix + length : 0), stop);
                Stirred();
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(output);
                _writing.Release();
            }
        }
        catch (Exception)
        {
            // The connection has ended, which its reader sees as well.
        }
        finally
        {
            _places.Release();
        }
    }

    /// <returns>0: nothing is left to be written.</returns>
    private async ValueTask<int> WriteAsync(byte[] output, int length, CancellationToken stop)
    {
        if (length > 0)
        {
            await _writing.WaitAsync(stop);
            try
            {
                await stream.WriteAsync(output.AsMemory(0, length), stop);
            }
            finally
            {
                _writing.Release();
            }
        }

        return 0;
    }

    /// <summary>Length of the first message, when all of it is there.</summary>
    private static int? MessageLength(ReadOnlySpan<byte> input) =>
        input.Length >= LengthPrefix && BinaryPrimitives.ReadUInt16BigEndian(input) is var length
            && input.Length >= LengthPrefix + length
            ? length
            : null;

    /// <summary>A buffer that can hold the message that has begun: grows to at most 64 KiB and shrinks when it is
    /// empty.</summary>
    private static byte[] Fit(byte[] buffer, int filled)
    {
        var need = filled < LengthPrefix
            ? IdleBuffer
            : Math.Max(IdleBuffer, LengthPrefix + BinaryPrimitives.ReadUInt16BigEndian(buffer));
        if (buffer.Length >= need && (filled > 0 || buffer.Length == IdleBuffer))
        {
            return buffer;
        }

        var fitting = ArrayPool<byte>.Shared.Rent(need);
        buffer.AsSpan(0, filled).CopyTo(fitting);
        ArrayPool<byte>.Shared.Return(buffer);
        return fitting;
    }
}
