using System.Globalization;
using System.Net;
using Fabric.Routing.Rates;

namespace Fabric.Gateway.Control;

/// <summary>
/// What one source may ask of this gateway beside handshakes (which the tunnel limits): joining and renewal by address, which cost a signature of
/// the authority, and the admin API by user. Whoever asks too often is told so, and may come again.
/// </summary>
internal sealed class Admission(TimeProvider time)
{
    /// <summary>120 a minute, 60 at once: as many gateways behind one NAT renew together after a night.</summary>
    public static readonly SourceLimit Joins = new(2, 60);

    /// <summary>Scripts that watch and reload are far below; one that spins would take the core from what carries bytes.</summary>
    public static readonly SourceLimit AdminCalls = new(200, 1_000, 256);

    private readonly SourceRates<IPAddress> _joins = new(Joins);
    private readonly SourceRates<uint> _adminCalls = new(AdminCalls);
    private readonly long _began = time.GetTimestamp();

    /// <summary>Refused since the start, by kind.</summary>
    public IReadOnlyList<(string Kind, long Count)> Refused => [("join_rate", _joins.Refused), ("admin_rate", _adminCalls.Refused)];

    /// <summary>Null, or why that address may not join or renew now.</summary>
    public string? Join(IPAddress address) => Take(_joins, AddressSource.Of(address), $"attempts to join or renew from {AddressSource.Of(address)}");

    /// <summary>Null, or why that user may not call the admin API now.</summary>
    /// <param name="user">Number of the user at the other end of the socket.</param>
    public string? AdminCall(uint user) => Take(_adminCalls, user, $"calls of user {user} to the admin API");

    private string? Take<TSource>(SourceRates<TSource> rates, TSource source, string what)
        where TSource : notnull => rates.TryTake(source, time.GetElapsedTime(_began)) ? null
        : string.Create(CultureInfo.InvariantCulture,
            $"too many {what}: {rates.Limit.AtOnce} at once and then {rates.Limit.PerSecond:0} a second are taken; try again in a moment");
}
