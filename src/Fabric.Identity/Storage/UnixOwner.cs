using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Fabric.Identity.Storage;

/// <summary>A user of the system with its group.</summary>
internal readonly record struct UnixUser(uint User, uint Group);

/// <summary>
/// Whose the files are that root writes for a daemon that is not root: <c>fabric init</c>, <c>join</c> and <c>token create</c> leave nothing in the
/// daemon's folders that the daemon cannot read. Linux; elsewhere, and for everybody but root, files are whose they are made by.
/// </summary>
internal static unsafe partial class UnixOwner
{
    /// <summary>The user that the daemon runs as, by the unit in <c>scripts/systemd</c>.</summary>
    public const string Daemon = "fabric";

    private const int CurrentFolder = -100;
    private const uint UserAndGroup = 0x18;
    private const int TooSmall = 34;

    /// <summary>
    /// Who is to have what root makes in that folder, which is there: the folder's owner. Null where nothing is to be done: this process is not root, or
    /// the folder is root's.
    /// </summary>
    public static UnixUser? Of(string folder)
    {
        if (!OperatingSystem.IsLinux() || !Environment.IsPrivilegedProcess)
        {
            return null;
        }

        FileStatus status;
        return StatX(CurrentFolder, folder, 0, UserAndGroup, &status) == 0 && status.User != 0 ? new UnixUser(status.User, status.Group) : null;
    }

    /// <summary>The daemon's user; null when there is none, or when this process is not root.</summary>
    public static UnixUser? OfDaemon()
    {
        if (!OperatingSystem.IsLinux() || !Environment.IsPrivilegedProcess)
        {
            return null;
        }

        for (var size = 1024; size <= 1 << 16; size *= 4)
        {
            var buffer = new byte[size];
            fixed (byte* bytes = buffer)
            {
                PasswordEntry entry;
                PasswordEntry* found;
                var error = GetUser(Daemon, &entry, bytes, (nuint)size, &found);
                if (error != TooSmall)
                {
                    return error == 0 && found is not null ? new UnixUser(entry.User, entry.Group) : null;
                }
            }
        }

        return null;
    }

    /// <summary>By its handle, so that it is this file and no other. Throws <see cref="IOException"/>.</summary>
    public static void Give(SafeFileHandle file, UnixUser owner) =>
        Check(ChangeOwner(file, owner.User, owner.Group), "a new file", owner);

    /// <summary>A folder; one that is a symbolic link by now is not followed. Throws <see cref="IOException"/>.</summary>
    public static void GiveFolder(string folder, UnixUser owner) =>
        Check(ChangeOwnerOfLink(folder, owner.User, owner.Group), $"'{folder}'", owner);

    /// <summary>As <see cref="GiveFolder"/>, where it is a kindness and no need: a daemon that runs as root may lack the power.</summary>
    public static void TryGiveFolder(string folder, UnixUser owner) => _ = ChangeOwnerOfLink(folder, owner.User, owner.Group);

    private static void Check(int result, string what, UnixUser owner)
    {
        if (result != 0)
        {
            throw new IOException($"{what} cannot be given to user {owner.User}: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    /// <summary><c>struct statx</c> (linux/stat.h): the same on every architecture.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct FileStatus
    {
        [FieldOffset(20)]
        public uint User;

        [FieldOffset(24)]
        public uint Group;
    }

    /// <summary>The beginning of <c>struct passwd</c>, and room for the rest of it.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct PasswordEntry
    {
        public byte* Name;
        public byte* Password;
        public uint User;
        public uint Group;
        public fixed ulong Rest[6];
    }

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int StatX(int folder, string path, int flags, uint mask, FileStatus* status);

    [LibraryImport("libc", EntryPoint = "getpwnam_r", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int GetUser(string name, PasswordEntry* entry, byte* buffer, nuint size, PasswordEntry** found);

    [LibraryImport("libc", EntryPoint = "fchown", SetLastError = true)]
    private static partial int ChangeOwner(SafeFileHandle file, uint user, uint group);

    [LibraryImport("libc", EntryPoint = "lchown", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int ChangeOwnerOfLink(string path, uint user, uint group);
}
