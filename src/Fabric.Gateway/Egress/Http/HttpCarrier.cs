using Fabric.Protocol.Http;
using Fabric.Tunnel;

namespace Fabric.Gateway.Egress.Http;

/// <summary>
/// Carries a connection whose requests are decided on: HTTP/1.1, or HTTP/2 from its preface on (RFC 9113 §3.3). What is neither never reaches the
/// endpoint.
/// </summary>
internal static class HttpCarrier
{
    /// <summary>How long a head may take from its first byte to its last.</summary>
    public static readonly TimeSpan HeadLimit = TimeSpan.FromSeconds(30);

    /// <summary>How much, and how long, is read of a caller after the last answer, so that it gets that before the end.</summary>
    private const int LingerBytes = 256 * 1024;
    public static readonly TimeSpan Linger = TimeSpan.FromSeconds(2);

    public static ReadOnlySpan<byte> Preface => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8;

    public static async Task RunAsync(StreamEnd caller, StreamEnd endpoint, IRequestJudge judge, TimeProvider time, CancellationToken stopping)
    {
        using var input = new HttpInput(caller, stopping);
        while (!SpeaksHttp2(input.Buffered.Span, out var isKnown) && !isKnown)
        {
            if (!await input.FillAsync())
            {
                break;
            }
        }

        if (SpeaksHttp2(input.Buffered.Span, out _))
        {
            input.Take(Preface.Length);
            await new Http2Relay(caller, input, endpoint, judge, time, stopping).RunAsync();
            return;
        }

        await new Http1Relay(caller, input, endpoint, judge, time, stopping).RunAsync();
    }

    /// <summary>Ends in order: the caller reads what was written last before it learns that nobody reads on.</summary>
    public static async Task LingerAsync(StreamEnd caller, HttpInput input, TimeProvider time)
    {
        caller.CompleteWrites();
        var left = LingerBytes;
        using var limit = new CancellationTokenSource(Linger, time);
        try
        {
            while (left > 0)
            {
                left -= input.Buffered.Length;
                input.Take(input.Buffered.Length);
                if (!await input.Filling.WaitAsync(limit.Token) || !await input.FillAsync())
                {
                    return;
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or HttpRefusedException)
        {
            // It reads or not: enough was waited for.
        }
    }

    private static bool SpeaksHttp2(ReadOnlySpan<byte> bytes, out bool isKnown)
    {
        var common = Math.Min(bytes.Length, Preface.Length);
        var agrees = bytes[..common].SequenceEqual(Preface[..common]);
        isKnown = !agrees || common == Preface.Length;
        return agrees && common == Preface.Length;
    }
}
