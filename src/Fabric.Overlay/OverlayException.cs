namespace Fabric.Overlay;

/// <summary>The stage at which the overlay failed: a closed set.</summary>
public enum OverlayStage
{
    /// <summary>A key or a key file.</summary>
    Key,

    /// <summary>Finding a driver that works on this machine.</summary>
    Driver,

    /// <summary>Creating, adopting or removing an interface, or the process behind it.</summary>
    Interface,

    /// <summary>WireGuard's own configuration: key, port, peers.</summary>
    Configure,

    /// <summary>Address, MTU, link state.</summary>
    Address,

    /// <summary>Routes to peers, or to a local range.</summary>
    Route,
}

/// <summary>
/// The overlay could not be made as asked. The message carries the value, the rule and a hint; it never carries a key.
/// <paramref name="errno"/> is the kernel's (positive) error number, 0 when no kernel call failed.
/// </summary>
public sealed class OverlayException(OverlayStage stage, string message, int errno = 0, Exception? inner = null)
    : Exception(message, inner)
{
    public OverlayStage Stage { get; } = stage;
    public int Errno { get; } = errno;
}
