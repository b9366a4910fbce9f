using System.Runtime.InteropServices;
using System.Runtime.Versioning;

// Namespaces, nft and /proc: the lab is Linux's.
[assembly: SupportedOSPlatform("linux")]

namespace Fabric.Lab.Processes;

/// <summary>The few calls that .NET has no name for.</summary>
internal static partial class Posix
{
    public const int SIGHUP = 1;
    public const int SIGINT = 2;
    public const int SIGKILL = 9;
    public const int SIGTERM = 15;

    [LibraryImport("libc", SetLastError = true)]
    public static partial int kill(int pid, int signal);

    [LibraryImport("libc")]
    public static partial uint getuid();
}
