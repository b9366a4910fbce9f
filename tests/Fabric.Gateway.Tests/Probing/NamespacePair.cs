using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Fabric.Gateway.Tests.Probing;

/// <summary>
/// Two network namespaces joined by a veth pair; needs root and <c>ip</c>. Removed when disposed.
/// <code>
///   fabprobe-PID-a  [probe0 10.99.0.1/24] ──── [probe0 10.99.0.2/24]  fabprobe-PID-b
/// </code>
/// </summary>
internal sealed partial class NamespacePair : IDisposable
{
    private const int CloneNewNet = 0x40000000;

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

    /// <summary>Runs something on a thread inside a namespace: the sockets that it opens stay there.</summary>
    public static T Inside<T>(string name, Func<T> make)
    {
        T result = default!;
        Exception? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                using var handle = File.OpenHandle($"/run/netns/{name}");
                if (SetNs((int)handle.DangerousGetHandle(), CloneNewNet) != 0)
                {
                    throw new IOException($"setns {name}: errno {Marshal.GetLastPInvokeError()}");
                }

                result = make();
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        thread.Start();
        thread.Join();
        return failure is null ? result : throw new IOException($"inside {name}: {failure.Message}", failure);
    }

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

    [LibraryImport("libc", EntryPoint = "setns", SetLastError = true)]
    private static partial int SetNs(int fd, int type);
}
