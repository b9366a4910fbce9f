namespace Fabric.Tunnel.Linux;

/// <summary>How a call on a <see cref="TlsSession"/> ended.</summary>
internal enum TlsStatus
{
    /// <summary>All of it is done.</summary>
    Done,

    /// <summary>The rest needs bytes that have not come.</summary>
    WantRead,

    /// <summary>The rest needs room in the output or in the socket.</summary>
    WantWrite,

    /// <summary>The peer sent close_notify: nothing comes any more, and it may still read (RFC 8446 §6.1).</summary>
    Closed,

    /// <summary>The connection ended without close_notify: something may be missing. Final.</summary>
    Truncated,

    /// <summary>An error, told by <see cref="TlsSession.Error"/>. Final; an alert in the output can still be flushed.</summary>
    Failed,
}
