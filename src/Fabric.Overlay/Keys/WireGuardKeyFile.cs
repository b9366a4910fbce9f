using System.Runtime.Versioning;
using System.Security.Cryptography;

namespace Fabric.Overlay.Keys;

/// <summary>The gateway's WireGuard key on disk: base64 and a line end, as <c>wg genkey</c> writes, mode 0600.</summary>
public static class WireGuardKeyFile
{
    public const string Name = "wireguard.key";

    private const UnixFileMode Forbidden = UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.GroupExecute
        | UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;

    /// <summary>
    /// Reads <c>wireguard.key</c> of <paramref name="directory"/>, or makes it. Made whole or not at all: written beside,
    /// flushed, and linked into place, so that of two processes that start at once one wins and both use the same key.
    /// Throws <see cref="OverlayException"/> when the file is readable by others, or no key.
    /// </summary>
    public static WireGuardKey LoadOrCreate(string directory)
    {
        if (OperatingSystem.IsWindows())
        {
            throw new OverlayException(OverlayStage.Key, "the key file is guarded by Unix modes; Windows has none");
        }

        var path = Path.Combine(directory, Name);
        if (!File.Exists(path))
        {
            Create(directory, path);
        }

        return Load(path);
    }

    [UnsupportedOSPlatform("windows")]
    private static void Create(string directory, string path)
    {
        if (!Directory.Exists(directory))
        {
            Directory.CreateDirectory(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }

        var temporary = $"{path}.{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(6))}";
        using var key = WireGuardKey.Generate();
        try
        {
            var options = new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            };
            using (var file = new FileStream(temporary, options))
            {
                var text = System.Text.Encoding.ASCII.GetBytes(Convert.ToBase64String(key.Secret) + "\n");
                file.Write(text);
                file.Flush(flushToDisk: true);
                CryptographicOperations.ZeroMemory(text);
            }

            File.Move(temporary, path, overwrite: false);
        }
        catch (IOException) when (File.Exists(path))
        {
            // Another process was first: its key is the key.
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    [UnsupportedOSPlatform("windows")]
    private static WireGuardKey Load(string path)
    {
        var mode = File.GetUnixFileMode(path);
        if ((mode & Forbidden) != 0)
        {
            throw new OverlayException(OverlayStage.Key,
                $"key file {path} has mode {Convert.ToString((int)mode, 8)}: only its owner may read it; run 'chmod 600 {path}'");
        }

        var length = new FileInfo(path).Length;
        if (length > 256)
        {
            throw new OverlayException(OverlayStage.Key,
                $"key file {path} has {length} bytes: it holds one base64 key of 44 characters");
        }

        return WireGuardKey.FromBase64(File.ReadAllText(path));
    }
}
