using Fabric.Overlay.Devices;
using Fabric.Overlay.Netlink;

namespace Fabric.Overlay.Kernel;

/// <summary>WireGuard of the Linux kernel: rtnetlink makes the interface, generic netlink configures it.</summary>
internal sealed class KernelDriver(OverlayOptions options) : IWireGuardDriver
{
    internal const string Kind = "wireguard";
    private const int NoEntry = 2;

    public string Name => "kernel";

    public bool IsAvailable(out string reason)
    {
        if (Privilege.WhyNoInterfaces() is { } why)
        {
            reason = why;
            return false;
        }

        try
        {
            using var socket = NetlinkSocket.Open(NetlinkSocket.GenericProtocol, options.RequestTimeout);
            FindFamily(socket);
            reason = "the kernel has WireGuard";
            return true;
        }
        catch (OverlayException e)
        {
            reason = e.Message;
            return false;
        }
    }

    public Task<IWireGuardDevice> OpenAsync(string interfaceName, CancellationToken cancellationToken) =>
        Task.Run(() =>
        {
            var device = new KernelDevice(InterfaceName.Check(interfaceName), options);
            device.Prepare();
            return (IWireGuardDevice)device;
        }, cancellationToken);

    /// <summary>The number of the family; asking for it makes the kernel load the module.</summary>
    internal static ushort FindFamily(NetlinkSocket socket)
    {
        try
        {
            return socket.Request(WireGuardMessages.GetFamily("wireguard"), OverlayStage.Driver, "find the kernel's WireGuard")
                .Select(WireGuardMessages.ParseFamily).FirstOrDefault(f => f is not null)
                ?? throw new OverlayException(OverlayStage.Driver, "the kernel's answer has no WireGuard family number");
        }
        catch (OverlayException e) when (e.Errno == NoEntry)
        {
            throw new OverlayException(OverlayStage.Driver,
                "this kernel has no WireGuard (Linux 5.6 and later may; try 'modprobe wireguard')", NoEntry, e);
        }
    }
}

/// <summary>An interface of kind <c>wireguard</c>.</summary>
internal sealed class KernelDevice(string name, OverlayOptions options) : WireGuardDevice(name, options)
{
    /// <summary>Makes or adopts the interface. Routes and sessions of an adopted one stay.</summary>
    public void Prepare()
    {
        using var rtnetlink = Rtnetlink.Open(Options.RequestTimeout);
        var link = FindOwn(rtnetlink, Interface, KernelDriver.Kind, Options);
        if (link is null)
        {
            rtnetlink.AddLink(Interface, KernelDriver.Kind);
            Applied = null;
            link = rtnetlink.FindLink(Interface)
                ?? throw new OverlayException(OverlayStage.Interface, $"interface {Interface} went as soon as it was made");
            Options.Log?.Invoke($"{Interface}: made, in the kernel");
        }

        if (link.Alias is null)
        {
            rtnetlink.SetAlias(link, Rtnetlink.AliasOf(Options.Owner));
        }
    }

    protected override Task PrepareAsync(CancellationToken cancellationToken) => Task.Run(Prepare, cancellationToken);

    protected override Task<DeviceStatus> ReadAsync(CancellationToken cancellationToken) => Task.Run(() =>
    {
        using var socket = NetlinkSocket.Open(NetlinkSocket.GenericProtocol, Options.RequestTimeout);
        var frames = socket.Request(WireGuardMessages.Get(KernelDriver.FindFamily(socket), Interface), OverlayStage.Configure,
            $"read the WireGuard configuration of {Interface}");
        try
        {
            return WireGuardMessages.ParseDevice("kernel", Interface, frames);
        }
        catch (InvalidDataException e)
        {
            throw new OverlayException(OverlayStage.Configure, $"{Interface}: the kernel's answer is malformed ({e.Message})",
                0, e);
        }
    }, cancellationToken);

    protected override Task WriteAsync(DeviceChange change, CancellationToken cancellationToken) => Task.Run(() =>
    {
        using var socket = NetlinkSocket.Open(NetlinkSocket.GenericProtocol, Options.RequestTimeout);
        foreach (var message in WireGuardMessages.Set(KernelDriver.FindFamily(socket), Interface, change))
        {
            socket.Request(message, OverlayStage.Configure, $"configure WireGuard on {Interface}");
        }
    }, cancellationToken);

    protected override Task ReleaseAsync(bool remove) => !remove ? Task.CompletedTask : Task.Run(() =>
    {
        using var rtnetlink = Rtnetlink.Open(Options.RequestTimeout);
        if (FindOwn(rtnetlink, Interface, KernelDriver.Kind, Options) is { } link)
        {
            rtnetlink.DeleteLink(link.Index);
            Options.Log?.Invoke($"{Interface}: removed");
        }
    });
}
