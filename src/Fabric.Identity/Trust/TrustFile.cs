using Fabric.Identity.Storage;
using Google.Protobuf;

namespace Fabric.Identity.Trust;

/// <summary>
/// A trust document on disk, <c>trust.bin</c>: beside a gateway's identity, or in the authority's folder. Written whole or not at all,
/// mode 0600.
/// </summary>
public sealed class TrustFile(string folder)
{
    public const string Name = "trust.bin";

    private string Path => System.IO.Path.Combine(folder, Name);

    /// <summary>
    /// Null when there is none. Throws <see cref="InvalidDataException"/> when it is damaged: to go on without it would be to forget who was
    /// evicted.
    /// </summary>
    public TrustDocument? Load()
    {
        try
        {
            var length = new FileInfo(Path).Length;
            return length > TrustDocument.MaxBytes ? throw new InvalidDataException($"it has {length} bytes, and may have {TrustDocument.MaxBytes}")
                : TrustDocument.Parse(File.ReadAllBytes(Path));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (InvalidDataException e)
        {
            throw new InvalidDataException($"{Path} is damaged: {e.Message}; "
                + $"put {Name} of another gateway in its place, which is the same document: without it, nobody here would know who was evicted", e);
        }
    }

    /// <summary>One writer at a time.</summary>
    public void Save(TrustDocument document)
    {
        SafeFile.MakeFolder(folder);
        SafeFile.Write(Path, document.Signed!.ToByteArray());
    }

    /// <summary>Idempotent.</summary>
    public void Delete()
    {
        if (Directory.Exists(folder))
        {
            File.Delete(Path);
        }
    }
}
