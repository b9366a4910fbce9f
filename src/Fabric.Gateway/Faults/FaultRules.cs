using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Gateway.Faults;

/// <summary>
/// What a fault may ask for, by itself: everything is refused with INVALID_ARGUMENT, the value, the rule and a hint. A value that the kind
/// has no use for is refused as well: whoever gives it expects something of it.
/// </summary>
internal static class FaultRules
{
    public const uint MinDurationMs = 1_000;
    public const uint MaxDurationMs = 3_600_000;
    private const int MaxName = 64;
    private const uint MaxDelayMs = 10_000;
    private const ulong MinRate = 8_000;
    private const ulong MaxRate = 1_000_000_000_000;

    /// <summary>Below it a lane is not built before the link is gone again.</summary>
    private const uint MinFlapMs = 100;
    private const uint MinRenewMs = 200;

    /// <summary>The same fault with its defaults filled in. Throws <see cref="GrpcException"/>.</summary>
    public static FaultSpec Check(FaultSpec? asked)
    {
        var fault = asked?.Clone() ?? throw Bad("fault", "nothing", "is required", "say which");
        Name("id", fault.Id);
        Name("drill", fault.Drill);
        if (!FaultKind.All.Contains(fault.Kind))
        {
            throw Bad("kind", fault.Kind, "is not a kind of fault", $"one of {string.Join(", ", FaultKind.All)}");
        }

        Within("duration_ms", fault.DurationMs, MinDurationMs, MaxDurationMs, "from 1 second to 1 hour; split the drill if it needs longer");
        if (fault.RenewWithinMs != 0)
        {
            Within("renew_within_ms", fault.RenewWithinMs, MinRenewMs, MaxDurationMs, "0: only the duration counts");
        }

        fault.Direction = fault.Direction.Length == 0 ? "both" : fault.Direction;
        OneOf("direction", fault.Direction, "both", "in", "out");
        if (!FaultKind.HasDirection(fault.Kind) && fault.Direction != "both")
        {
            throw Bad("direction", fault.Direction, $"does not apply to {fault.Kind}", "leave it out");
        }

        fault.Means = fault.Means.Length == 0 ? "auto" : fault.Means;
        OneOf("means", fault.Means, "auto", "kernel", "seam");
        Applies(fault, "link", fault.Link, FaultKind.IsOfLink(fault.Kind));
        if (fault.Peer.Length > 0 && !FaultKind.IsOfLink(fault.Kind))
        {
            throw Bad("peer", fault.Peer, $"does not apply to {fault.Kind}", "leave it out");
        }

        Applies(fault, "service", fault.Service, FaultKind.IsOfService(fault.Kind));
        Figures(fault);
        return fault;
    }

    /// <summary>How long it is in force when nobody is heard meanwhile, which is always so for a kind that is <see cref="FaultKind.IsDeaf"/>.</summary>
    public static TimeSpan Longest(FaultSpec fault) => TimeSpan.FromMilliseconds(
        FaultKind.IsDeaf(fault.Kind) && fault.RenewWithinMs > 0 ? Math.Min(fault.DurationMs, fault.RenewWithinMs) : fault.DurationMs);

    private static void Figures(FaultSpec fault)
    {
        Applies(fault, "delay_ms", fault.DelayMs, fault.Kind == FaultKind.Delay, 1, MaxDelayMs);
        if (fault.JitterMs > fault.DelayMs)
        {
            throw Bad("jitter_ms", fault.JitterMs, "must not be more than delay_ms", fault.Kind == FaultKind.Delay ? "a packet cannot arrive before it left" : "leave it out");
        }

        Applies(fault, "bits_per_second", fault.BitsPerSecond, fault.Kind == FaultKind.Bandwidth, MinRate, MaxRate);
        Applies(fault, "down_ms", fault.DownMs, fault.Kind == FaultKind.Flap, MinFlapMs, MaxDurationMs);
        Applies(fault, "up_ms", fault.UpMs, fault.Kind == FaultKind.Flap, MinFlapMs, MaxDurationMs);
        if (fault.Kind == FaultKind.Loss ? fault.LossPercent is not (> 0 and <= 100) : fault.LossPercent != 0)
        {
            throw Bad("loss_percent", fault.LossPercent, fault.Kind == FaultKind.Loss ? "must be above 0 and at most 100" : $"does not apply to {fault.Kind}",
                "100 is link-blackhole");
        }
    }

    /// <summary>Letters, digits and <c>-</c>: it becomes part of file names and of names in the kernel.</summary>
    public static bool IsName(string name) => name.Length is > 0 and <= MaxName && name.All(c => char.IsAsciiLetterOrDigit(c) || c == '-') && name[0] != '-';

    private static void Name(string field, string value)
    {
        if (!IsName(value))
        {
            throw Bad(field, value, $"must be 1 to {MaxName} letters, digits and '-', and begin with none of the latter", "such as cut-dx-1");
        }
    }

    private static void OneOf(string field, string value, params string[] words)
    {
        if (!words.Contains(value))
        {
            throw Bad(field, value, $"must be one of {string.Join(", ", words)}", "empty: the first");
        }
    }

    private static void Applies(FaultSpec fault, string field, string value, bool applies)
    {
        if (applies != value.Length > 0 || value.Length > 256)
        {
            throw Bad(field, value, applies ? $"is required by {fault.Kind}, and has at most 256 characters" : $"does not apply to {fault.Kind}",
                applies ? "say which" : "leave it out");
        }
    }

    private static void Applies(FaultSpec fault, string field, ulong value, bool applies, ulong min, ulong max)
    {
        if (!applies && value != 0)
        {
            throw Bad(field, value, $"does not apply to {fault.Kind}", "leave it out");
        }

        if (applies)
        {
            Within(field, value, min, max, $"{fault.Kind} needs it");
        }
    }

    private static void Within(string field, ulong value, ulong min, ulong max, string hint)
    {
        if (value < min || value > max)
        {
            throw Bad(field, value, $"must be from {min} to {max}", hint);
        }
    }

    private static GrpcException Bad(string field, object value, string rule, string hint) =>
        new(GrpcStatus.InvalidArgument, $"{field} '{Shown($"{value}")}' {rule} (hint: {hint})");

    private static string Shown(string value) => new([.. value.Take(80).Select(c => char.IsControl(c) ? '?' : c)]);
}
