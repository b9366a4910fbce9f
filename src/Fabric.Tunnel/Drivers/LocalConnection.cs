using System.Net.Sockets;

namespace Fabric.Tunnel.Drivers;

/// <summary>
/// A connection that no session carries, from before it is decided to its end. Any thread may refuse it: while it is decided or dialled, the
/// one who does that finds out by <see cref="Join"/> and keeps the socket; later the socket is reset.
/// </summary>
internal sealed class LocalConnection(StreamOpen open, Socket client)
{
    private readonly Lock _lock = new();
    private bool _joined;

    public StreamOpen Open => open;

    /// <summary>Why it is over; null while nobody has refused it.</summary>
    public EgressVerdict.Refuse? Refusal { get; private set; }

    /// <summary>False when it was refused before.</summary>
    public bool Refuse(EgressVerdict.Refuse refusal)
    {
        lock (_lock)
        {
            if (Refusal is not null)
            {
                return false;
            }

            Refusal = refusal;
            if (_joined)
            {
                Sockets.Abort(client);
            }

            return true;
        }
    }

    /// <summary>Bytes move from now on. Throws <see cref="StreamRefusedException"/> when it was refused meanwhile.</summary>
    public void Join()
    {
        lock (_lock)
        {
            if (Refusal is { } refusal)
            {
                throw new StreamRefusedException(refusal.Code, refusal.Reason);
            }

            _joined = true;
        }
    }
}
