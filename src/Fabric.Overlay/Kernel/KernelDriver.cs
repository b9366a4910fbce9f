namespace Fabric.Overlay.Kernel;

/// <summary>WireGuard of the Linux kernel.</summary>
internal sealed class KernelDriver(OverlayOptions options) : IWireGuardDriver
{
    public string Name => "kernel";

    public bool IsAvailable(out string reason) => throw new NotImplementedException(options.Owner);

    public Task<IWireGuardDevice> OpenAsync(string interfaceName, CancellationToken cancellationToken) => throw new NotImplementedException();
}
