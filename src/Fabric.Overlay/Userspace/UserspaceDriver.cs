using Fabric.Overlay.Devices;

namespace Fabric.Overlay.Userspace;

/// <summary>WireGuard in a process of its own, one per interface, behind its UAPI socket.</summary>
internal sealed class UserspaceDriver(OverlayOptions options, TimeProvider time) : IWireGuardDriver
{
    public string Name => "userspace";

    public bool IsAvailable(out string reason)
    {
        var command = options.UserspaceCommand;
        var found = command.Contains('/')
            ? File.Exists(command)
            : WireGuardProcess.SearchPath.Split(':').Any(d => d.Length > 0 && File.Exists(Path.Combine(d, command)));
        reason = Privilege.WhyNoInterfaces()
            ?? (!found ? $"'{command}' is not installed"
                : !File.Exists("/dev/net/tun") ? "/dev/net/tun is missing: try 'modprobe tun'"
                : $"'{command}' and /dev/net/tun are there");
        return found && File.Exists("/dev/net/tun") && Privilege.WhyNoInterfaces() is null;
    }

    public async Task<IWireGuardDevice> OpenAsync(string interfaceName, CancellationToken cancellationToken)
    {
        var device = new UserspaceDevice(InterfaceName.Check(interfaceName), options, time);
        await device.OpenAsync(cancellationToken);
        return device;
    }
}
