using System.Collections.Immutable;
using System.Net;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Lan;

/// <summary>What a gateway does on its local networks.</summary>
/// <param name="Identity">What it tells of itself; null: nothing.</param>
/// <param name="Types">Types of services that it looks for.</param>
internal sealed record LanWishes(LanIdentity? Identity, ImmutableArray<string> Types)
{
    public bool Equals(LanWishes? other) => other is not null && Identity == other.Identity && Types.SequenceEqual(other.Types);

    public override int GetHashCode() => HashCode.Combine(Identity, Types.Length);
}

/// <summary>
/// Multicast DNS on one network, without its socket and clock: reads what may be read, and gives it to the <see cref="LanResponder"/> and the
/// <see cref="LanBrowser"/>. Instants are times since some start. Not for several threads at once.
/// </summary>
internal sealed class LanSpeaker
{
    /// <summary>Messages read each second; more are dropped, and counted.</summary>
    public const int MaxPerSecond = 500;

    private readonly LanNetworks _networks;
    private readonly LanResponder? _responder;
    private readonly LanBrowser _browser;
    private TimeSpan _since;
    private int _lately;
    private long _dropped;

    /// <param name="networks">Of the interface.</param>
    /// <param name="wishes">What to do there.</param>
    /// <param name="random">For delays.</param>
    /// <param name="send">A message, and to whom.</param>
    public LanSpeaker(LanNetworks networks, LanWishes wishes, Random random, Action<DnsMessage, IPEndPoint> send)
    {
        _networks = networks;
        _responder = wishes.Identity is { } identity ? new LanResponder(identity, () => networks.Addresses, random, send) : null;
        _browser = new LanBrowser(wishes.Types, networks.AddressTypes, networks.IsEndpoint, random, query => send(query, Mdns.Group));
    }

    /// <summary>When <see cref="Turn"/> has something to do; null: not before something is heard.</summary>
    public TimeSpan? Due => _responder?.Due is { } at && (_browser.Due is null || at < _browser.Due) ? at : _browser.Due;

    /// <summary>The name that others see; empty while it is not established, and when nothing is told.</summary>
    public string AnnouncedAs => _responder is { IsEstablished: true } ? _responder.Name : "";

    public ImmutableArray<LanService> Found => _browser.Found;

    /// <summary>Messages not read, and things not kept, because a limit was reached.</summary>
    public long Dropped => _dropped + _browser.LeftOut;

    public void Start(TimeSpan now)
    {
        _responder?.Start(now);
        _browser.Start(now);
    }

    /// <summary>Reads a message; true when <see cref="Found"/> or <see cref="AnnouncedAs"/> is another.</summary>
    public bool Receive(ReadOnlySpan<byte> bytes, IPEndPoint from, TimeSpan now)
    {
        // Hosts elsewhere can send here as well (RFC 6762 §11). Opcodes and codes other than 0 are for somebody else (§18.3, 18.11).
        if (!_networks.Holds(from.Address) || !MayRead(now) || !DnsMessage.TryRead(bytes, out var message)
            || message.Opcode != DnsOpcode.Query || message.Rcode != DnsRcode.NoError)
        {
            return false;
        }

        var (name, changed) = (AnnouncedAs, false);
        if ((message.Flags & DnsFlags.Response) == 0)
        {
            _responder?.Hear(message, from, now);
            if (from.Port == Mdns.Group.Port && _networks.HoldsOther(from.Address))
            {
                _browser.HearQuery(message, now);
            }
        }
        else if (from.Port == Mdns.Group.Port)
        {
            _responder?.HearResponse(message, now);
            changed = _browser.Hear(message, now);
        }

        return changed || name != AnnouncedAs;
    }

    /// <summary>Does what is due; true as for <see cref="Receive"/>.</summary>
    public bool Turn(TimeSpan now)
    {
        var name = AnnouncedAs;
        _responder?.Turn(now);
        return _browser.Turn(now) | name != AnnouncedAs;
    }

    public void Goodbye() => _responder?.Goodbye();

    private bool MayRead(TimeSpan now)
    {
        (_since, _lately) = now - _since < TimeSpan.FromSeconds(1) ? (_since, _lately + 1) : (now, 1);
        _dropped += _lately > MaxPerSecond ? 1 : 0;
        return _lately <= MaxPerSecond;
    }
}
