namespace Fabric.Overlay;

/// <summary>Settings of the overlay of one gateway.</summary>
public sealed record OverlayOptions
{
    /// <summary>
    /// Whose interfaces these are, normally the gateway's name; written into the interface's alias as <c>fabric OWNER</c>.
    /// Only interfaces with that alias are adopted or removed. Default <c>default</c>; at most 200 bytes.
    /// </summary>
    public string Owner { get; init; } = "default";

    /// <summary>Interface names start with it; 1 to 8 characters. Default <c>fab-</c>.</summary>
    public string InterfacePrefix { get; init; } = "fab-";

    /// <summary>The userspace implementation, started as <c>COMMAND -f INTERFACE</c>. Default <c>wireguard-go</c>.</summary>
    public string UserspaceCommand { get; init; } = "wireguard-go";

    /// <summary>
    /// Arguments for it; <c>{interface}</c> stands for the name. It must stay in the foreground. Default <c>-f {interface}</c>
    /// (boringtun: <c>-f {interface}</c> as well).
    /// </summary>
    public IReadOnlyList<string> UserspaceArguments { get; init; } = ["-f", "{interface}"];

    /// <summary>
    /// Where the implementation puts <c>NAME.sock</c>. Default <c>/var/run/wireguard</c>, which implementations share.
    /// </summary>
    public string UapiDirectory { get; init; } = "/var/run/wireguard";

    /// <summary>
    /// Where the output of userspace processes goes (<c>NAME.log</c>, at most 256 KiB). Default <c>/run/fabric</c>.
    /// </summary>
    public string RuntimeDirectory { get; init; } = "/run/fabric";

    /// <summary>How long a userspace process may take until its socket answers, and until it has ended. Default 5 s.</summary>
    public TimeSpan ProcessTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long the kernel or a UAPI socket may take to answer. Default 5 s.</summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Wait before the first restart of a userspace process; doubles at each. Default 100 ms.</summary>
    public TimeSpan RestartDelay { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>
    /// The longest wait before a restart; a process that lived longer than it starts again at the shortest. Default 10 s.
    /// </summary>
    public TimeSpan MaxRestartDelay { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// Takes one line per event (started, adopted, ended, a line that the userspace process wrote). Never a key.
    /// </summary>
    public Action<string>? Log { get; init; }
}
