namespace Fabric.Overlay.Devices;

/// <summary>Instants as WireGuard tells them: seconds and nanoseconds since 1970; zero is never.</summary>
internal static class UnixTime
{
    private static readonly long _max = DateTimeOffset.MaxValue.ToUnixTimeSeconds();

    /// <summary>Throws <see cref="InvalidDataException"/> when it is no instant.</summary>
    public static DateTimeOffset? ToInstant(long seconds, long nanoseconds)
    {
        if (seconds < 0 || seconds >= _max || nanoseconds is < 0 or >= 1_000_000_000)
        {
            throw new InvalidDataException($"{seconds} s and {nanoseconds} ns since 1970 is no instant");
        }

        return (seconds, nanoseconds) == (0, 0) ? null : DateTimeOffset.FromUnixTimeSeconds(seconds).AddTicks(nanoseconds / 100);
    }
}
