using System.Globalization;
using System.Runtime.InteropServices;

namespace Fabric.Gateway.Control.Transport;

/// <summary>Groups of the system, which the platform's own classes do not know. Not on Windows.</summary>
internal static unsafe partial class UnixGroup
{
    private const int TooSmall = 34;
    private const int LargestEntry = 1 << 20;
    private const int CurrentFolder = -100;
    private const uint GroupField = 0x10;

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
        // A daemon that needs no power to change owners is not to be stopped for asking.
        if (!Has(path, group) && ChangeOwner(path, uint.MaxValue, group) != 0)
        {
            throw new IOException($"group {group} cannot have '{path}': {Marshal.GetLastPInvokeErrorMessage()}. "
                + "Run the daemon as root or with that group (systemd: Group=)");
        }
    }

    private static bool Has(string path, uint group)
    {
        FileStatus status;
        return OperatingSystem.IsLinux() && StatX(CurrentFolder, path, 0, GroupField, &status) == 0 && status.Group == group;
    }

    /// <summary><c>struct statx</c> (linux/stat.h): the same on every architecture.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct FileStatus
    {
        [FieldOffset(24)]
        public uint Group;
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

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int StatX(int folder, string path, int flags, uint mask, FileStatus* status);

    [LibraryImport("libc", EntryPoint = "chown", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int ChangeOwner(string path, uint owner, uint group);
}
