using System.Runtime.CompilerServices;
using Fabric.Testing;

namespace Fabric.Overlay.Tests.Real;

/// <summary>
/// The kernel driver in a virtual machine, since the machine under the tests may have a kernel without WireGuard.
/// </summary>
public sealed class KernelTests
{
    [RequiresFact("root", "qemu-system-x86_64", "busybox", "cpio", "wg", "ip", "ping")]
    public async Task The_kernel_driver_works_on_a_kernel_that_has_wireguard()
    {
        var script = Path.Combine(Path.GetDirectoryName(Here())!, "..", "kernel-vm.sh");
        var (code, output) = await Shell.TryAsync(
            $"LIMIT=230 {script} dotnet {typeof(Host.Program).Assembly.Location} kernel-check", seconds: 240);
        Assert.True(code == 0 && output.Contains("kernel-check: passed", StringComparison.Ordinal), $"exit {code}:\n{output}");
    }

    private static string Here([CallerFilePath] string path = "") => path;
}
