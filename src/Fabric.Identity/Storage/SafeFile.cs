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

    public static void MakeFolder(string dir)
    {
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(dir);
            return;
        }

        Directory.CreateDirectory(dir, PrivateFolder);
        File.SetUnixFileMode(dir, PrivateFolder);
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
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, Share = FileShare.Read };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = Private;
        }

        using var file = new FileStream(path, options);
        file.Write(bytes);
        file.Flush(flushToDisk: true);
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
