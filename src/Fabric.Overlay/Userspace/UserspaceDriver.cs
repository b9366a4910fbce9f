namespace Fabric.Overlay.Userspace;

/// <summary>WireGuard in a process of its own.</summary>
internal sealed class UserspaceDriver(OverlayOptions options, TimeProvider time) : IWireGuardDriver
{
    public string Name => "userspace";

    public bool IsAvailable(out string reason) => throw new NotImplementedException(options.Owner + time);

    public Task<IWireGuardDevice> OpenAsync(string interfaceName, CancellationToken cancellationToken) => throw new NotImplementedException();
}
