namespace Fabric.Gateway.Telemetry;

/// <summary>What others wrote, as it may stand in a log line: bounded, and without what a terminal would obey.</summary>
internal static class Printable
{
    private const int Longest = 200;

    /// <summary>At most 200 characters; controls and what is not ASCII become question marks.</summary>
    public static string Of(string text) => text.Length <= Longest && !text.AsSpan().ContainsAnyExceptInRange(' ', '~') ? text
        : string.Create(Math.Min(text.Length, Longest), text, static (to, from) =>
        {
            for (var i = 0; i < to.Length; i++)
            {
                to[i] = from[i] is >= ' ' and <= '~' ? from[i] : '?';
            }
        });
}
