using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace Fabric.Identity.Storage;

/// <summary>
/// Files that hold secrets or must never be half there. A write is: temporary file beside the target (0600), fsync, rename, fsync
/// of the folder. Killed at any moment, the target is either the old text or the new one; a temporary file left behind
/// is removed by the next write of the same name. One writer per name at a time; readers need no lock.
/// </summary>
internal static partial class SafeFile
{
    public const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    public const UnixFileMode PrivateFolder = Private | UnixFileMode.UserExecute;

    private const UnixFileMode TooOpen =
        UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute | UnixFileMode.GroupWrite;

    /// <summary>No file of an identity is larger than this (bytes): a larger one is not read.</summary>
    public const int MaxBytes = 1 << 20;

    /// <summary>
    /// A folder for secrets, 0700. What root makes belongs to the owner of the folder that it is in; in a folder of root's, to the user
    /// <see cref="UnixOwner.Daemon"/>, where there is one. Throws <see cref="IOException"/>.
    /// </summary>
    public static void MakeFolder(string dir)
    {
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(dir);
            return;
        }

        var full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(dir));
        if (!Directory.Exists(full))
        {
            MakeNew(full);
            return;
        }

        // In a folder of a user with less power, nothing that is there is touched: it may be what that user put in its place.
        if (Path.GetDirectoryName(full) is { } parent && UnixOwner.Of(parent) is { } owner)
        {
            if (new DirectoryInfo(full).LinkTarget is not null)
            {
                throw new IOException($"'{dir}' is a symbolic link in a folder of user {owner.User}: replace it by a folder");
            }
        }
        else
        {
            File.SetUnixFileMode(full, PrivateFolder);
        }
    }

    /// <summary>With those above it that are missing.</summary>
    [System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
    private static void MakeNew(string folder)
    {
        var parent = Path.GetDirectoryName(folder)!;
        if (!Directory.Exists(parent))
        {
            MakeNew(parent);
        }

        Directory.CreateDirectory(folder, PrivateFolder);
        if (UnixOwner.Of(parent) is { } owner)
        {
            UnixOwner.GiveFolder(folder, owner);
        }
        else if (UnixOwner.OfDaemon() is { } daemon)
        {
            UnixOwner.TryGiveFolder(folder, daemon);
        }
    }

    public static void Write(string path, string text) => Write(path, Encoding.UTF8.GetBytes(text));

    public static void Write(string path, ReadOnlySpan<byte> bytes)
    {
        var dir = Path.GetDirectoryName(Path.GetFullPath(path))!;
        var name = Path.GetFileName(path);
        foreach (var left in Directory.EnumerateFiles(dir, $".{name}.tmp-*"))
        {
            File.Delete(left);
        }

        var temporary = Path.Combine(dir, $".{name}.tmp-{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(6))}");
        CreateNew(temporary, bytes);
        File.Move(temporary, path, overwrite: true);
        SyncFolder(dir);
    }

    /// <summary>
    /// Throws <see cref="IOException"/> when the file is there already: of several processes, one wins (O_EXCL).
    /// </summary>
    public static void CreateNew(string path, ReadOnlySpan<byte> bytes)
    {
        using var file = OpenNew(path, FileAccess.Write, FileShare.Read);
        file.Write(bytes);
        file.Flush(flushToDisk: true);
    }

    /// <summary>
    /// A file that was not there (O_EXCL, which follows no link): 0600, and its folder's owner's where root writes. Throws <see cref="IOException"/>.
    /// </summary>
    public static FileStream OpenNew(string path, FileAccess access, FileShare share)
    {
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = access, Share = share };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = Private;
        }

        var file = new FileStream(path, options);
        try
        {
            if (UnixOwner.Of(Path.GetDirectoryName(Path.GetFullPath(path))!) is { } owner)
            {
                UnixOwner.Give(file.SafeFileHandle, owner);
            }

            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Throws <see cref="FileNotFoundException"/>, <see cref="InvalidDataException"/> when over the limit.</summary>
    public static string ReadText(string path)
    {
        var length = new FileInfo(path).Length;
        return length <= MaxBytes ? File.ReadAllText(path)
            : throw new InvalidDataException($"{path} has {length} bytes; the limit is {MaxBytes}");
    }

    /// <summary>
    /// Text of a file that somebody else wrote; symbolic links are followed. Throws <see cref="IOException"/> or
    /// <see cref="UnauthorizedAccessException"/> when it cannot be read, <see cref="InvalidDataException"/> when it is over the limit
    /// or, with <paramref name="secret"/>, when others than its owner and group may read it, or others than its owner may write it.
    /// (A group may read, because that is how Kubernetes hands a secret to a user that is not root.)
    /// </summary>
    public static string ReadForeign(string path, bool secret)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);

        // Of what was opened, not of the path: a link may point elsewhere a moment later.
        if (secret && !OperatingSystem.IsWindows()
            && File.GetUnixFileMode(file.SafeFileHandle) is var mode && (mode & TooOpen) != 0)
        {
            throw new InvalidDataException($"{path} has mode {Convert.ToString((int)mode, 8)}: others than its owner and group may read "
                + "it, or others than its owner may write it; try `chmod 600`");
        }

        if (file.Length > MaxBytes)
        {
            throw new InvalidDataException($"{path} has {file.Length} bytes; the limit is {MaxBytes}");
        }

        var bytes = new byte[file.Length];
        return Encoding.UTF8.GetString(bytes, 0, file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false));
    }

    /// <summary>A rename is on disk only when its folder is.</summary>
    public static void SyncFolder(string dir)
    {
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        var descriptor = Open(dir, 0);
        if (descriptor >= 0)
        {
            _ = Sync(descriptor);
            _ = Close(descriptor);
        }
    }

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync")]
    private static partial int Sync(int descriptor);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int descriptor);
}
