using System.Globalization;
using System.Runtime.InteropServices;

namespace Fabric.Gateway.Control.Transport;

/// <summary>Groups of the system, which the platform's own classes do not know. Not on Windows.</summary>
internal static unsafe partial class UnixGroup
{
    private const int TooSmall = 34;
    private const int LargestEntry = 1 << 20;

    /// <summary>Number of the group of that name, or of that number. Throws <see cref="IOException"/> when there is none.</summary>
    public static uint Find(string name)
    {
        for (var size = 1024; size <= LargestEntry; size *= 4)
        {
            var buffer = new byte[size];
            fixed (byte* bytes = buffer)
            {
                Entry entry;
                Entry* found;
                var error = GetGroup(name, &entry, bytes, (nuint)size, &found);
                if (error == 0 && found is not null)
                {
                    return entry.Number;
                }

                if (error != TooSmall)
                {
                    break;
                }
            }
        }

        return uint.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number
            : throw new IOException($"there is no group '{name}': make it (groupadd --system {name}), or name another");
    }

    /// <summary>Throws <see cref="IOException"/> when this process may not: it must own the file, and be root or in the group.</summary>
    public static void Give(string path, uint group)
    {
        if (ChangeOwner(path, uint.MaxValue, group) != 0)
        {
            throw new IOException($"group {group} cannot have '{path}': {Marshal.GetLastPInvokeErrorMessage()}. "
                + "Run the daemon as root or with that group (systemd: SupplementaryGroups=)");
        }
    }

    /// <summary><c>struct group</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Entry
    {
        public byte* Name;
        public byte* Password;
        public uint Number;
        public byte** Members;
    }

    [LibraryImport("libc", EntryPoint = "getgrnam_r", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int GetGroup(string name, Entry* entry, byte* buffer, nuint size, Entry** found);

    [LibraryImport("libc", EntryPoint = "chown", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int ChangeOwner(string path, uint owner, uint group);
}
