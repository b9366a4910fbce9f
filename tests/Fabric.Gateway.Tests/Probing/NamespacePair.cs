using System.Diagnostics;

namespace Fabric.Gateway.Tests.Probing;

/// <summary>
/// Two network namespaces joined by a veth pair; needs root and <c>ip</c>. Removed when disposed.
/// <code>
///   fabprobe-PID-a  [probe0 10.99.0.1/24] ──── [probe0 10.99.0.2/24]  fabprobe-PID-b
/// </code>
/// </summary>
internal sealed class NamespacePair : IDisposable
{
    public NamespacePair()
    {
        try
        {
            Ip($"netns add {A}");
            Ip($"netns add {B}");
            Ip($"-n {A} link add probe0 type veth peer name probe0 netns {B}");
            Ip($"-n {A} addr add 10.99.0.1/24 dev probe0");
            Ip($"-n {B} addr add 10.99.0.2/24 dev probe0");
            Ip($"-n {A} link set lo up");
            Ip($"-n {B} link set lo up");
            Ip($"-n {A} link set probe0 up");
            Ip($"-n {B} link set probe0 up");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public static string A => $"fabprobe-{Environment.ProcessId}-a";
    public static string B => $"fabprobe-{Environment.ProcessId}-b";

    public static void Ip(string arguments)
    {
        using var process = Process.Start(new ProcessStartInfo("ip", arguments) { RedirectStandardError = true })!;
        var error = process.StandardError.ReadToEnd();
        Assert.True(process.WaitForExit(10_000), $"ip {arguments} does not end");
        Assert.True(process.ExitCode == 0, $"ip {arguments}: {error}");
    }

    public void Dispose()
    {
        foreach (var name in new[] { A, B }.Where(n => File.Exists($"/run/netns/{n}")))
        {
            Ip($"netns delete {name}");
        }
    }
}
