using System.Globalization;
using System.Runtime.InteropServices;

namespace Fabric.Gateway.Ingress;

/// <summary>What Linux knows of users and cgroups by name, which the platform's own classes do not.</summary>
internal static unsafe partial class UnixAccounts
{
    private const int TooSmall = 34;
    private const int LargestEntry = 1 << 20;
    private const int AtCurrentFolder = -100;
    private const int NoFollow = 0x100;
    private const uint WantInode = 0x100;
    private const int StatxSize = 256;
    private const int InodeAt = 32;

    /// <summary>Number of the user of that name, or of that number; null when there is none.</summary>
    public static uint? FindUser(string name)
    {
        if (uint.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out var number))
        {
            return number;
        }

        for (var size = 1024; size <= LargestEntry; size *= 4)
        {
            var buffer = new byte[size];
            fixed (byte* bytes = buffer)
            {
                Entry entry;
                Entry* found;
                var error = GetUser(name, &entry, bytes, (nuint)size, &found);
                if (error != TooSmall)
                {
                    return error == 0 && found is not null ? entry.Number : null;
                }
            }
        }

        return null;
    }

    /// <summary>Number of a file or folder: of a cgroup's folder, that of the cgroup. Null when it is not there.</summary>
    public static ulong? Inode(string path)
    {
        Span<byte> stat = stackalloc byte[StatxSize];
        return Statx(AtCurrentFolder, path, NoFollow, WantInode, stat) == 0 ? MemoryMarshal.Read<ulong>(stat[InodeAt..]) : null;
    }

    /// <summary><c>struct passwd</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Entry
    {
        public byte* Name;
        public byte* Password;
        public uint Number;
        public uint Group;
        public byte* Comment;
        public byte* Home;
        public byte* Shell;
    }

    [LibraryImport("libc", EntryPoint = "getpwnam_r", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int GetUser(string name, Entry* entry, byte* buffer, nuint size, Entry** found);

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(int folder, string path, int flags, uint mask, Span<byte> stat);
}
