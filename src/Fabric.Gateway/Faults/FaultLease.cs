using System.Globalization;
using System.Text.Json;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Google.Protobuf;

namespace Fabric.Gateway.Faults;

/// <summary>What the gateway's disk knows of a fault, from before it is applied until it is reverted.</summary>
/// <param name="Fault">As it was asked for, with its defaults.</param>
/// <param name="Means">By which means.</param>
/// <param name="Boot">The kernel's boot id: what a reboot has taken away is not reverted again.</param>
/// <param name="EndsAt">UTC.</param>
/// <param name="Detail">What its means have to know to take it back: the network device, or nothing.</param>
internal sealed record FaultLease(FaultSpec Fault, string Means, string Boot, DateTimeOffset EndsAt, string Detail = "")
{
    public const int MaxLength = 16 << 10;
    private static readonly JsonFormatter _formatter = new(JsonFormatter.Settings.Default);
    private static readonly JsonParser _parser = new(JsonParser.Settings.Default.WithIgnoreUnknownFields(true));

    public byte[] Write() => JsonSerializer.SerializeToUtf8Bytes(new Stored(1, _formatter.Format(Fault), Means, Boot,
        EndsAt.UtcDateTime.ToString("O", CultureInfo.InvariantCulture), Detail));

    /// <summary>Throws <see cref="InvalidDataException"/> with the reason for whatever is not what <see cref="Write"/> writes.</summary>
    public static FaultLease Parse(ReadOnlySpan<byte> text)
    {
        try
        {
            var stored = text.Length > MaxLength ? throw new InvalidDataException($"it has {text.Length} bytes, and a lease at most {MaxLength}")
                : JsonSerializer.Deserialize<Stored>(text);
            if (stored is not { Version: 1, Fault: not null, Means: not null, Boot: not null, Detail: not null })
            {
                throw new InvalidDataException("it is not a lease of version 1");
            }

            if (stored.Detail.Length > 15 || !stored.Detail.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'))
            {
                throw new InvalidDataException("its detail is not the name of a network device");
            }

            return DateTimeOffset.TryParseExact(stored.EndsAt, "O", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var ends)
                ? new FaultLease(FaultRules.Check(_parser.Parse<FaultSpec>(stored.Fault)), stored.Means, stored.Boot, ends, stored.Detail)
                : throw new InvalidDataException("the time at which it ends is none");
        }
        catch (Exception e) when (e is JsonException or InvalidProtocolBufferException or InvalidJsonException or GrpcException or ArgumentException
            or FormatException or OverflowException or NotSupportedException)
        {
            throw new InvalidDataException($"it cannot be read: {e.Message}", e);
        }
    }

    private sealed record Stored(int Version, string? Fault, string? Means, string? Boot, string? EndsAt, string? Detail);
}
