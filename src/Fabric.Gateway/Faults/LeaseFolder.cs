using System.Runtime.InteropServices;
using Fabric.Gateway.Telemetry;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Fabric.Gateway.Faults;

/// <summary>
/// The leases of one gateway, a file for each: <c>faults/ID.json</c> in the state folder. A file is there, and on the disk, before its
/// fault is in force, and goes when the fault has been reverted.
/// </summary>
internal sealed partial class LeaseFolder(string path, ILogger log)
{
    private const string Extension = ".json";
    private const string Garbage = ".garbage";

    /// <summary>More than can be in force: what lies beyond it is not ours.</summary>
    private const int MaxFiles = 256;

    public string Of(string id) => Path.Combine(path, id + Extension);

    /// <summary>Returns when it is on the disk. Throws <see cref="IOException"/> or <see cref="UnauthorizedAccessException"/>.</summary>
    public void Write(FaultLease lease)
    {
        Directory.CreateDirectory(path);
        var next = Of(lease.Fault.Id) + ".next";
        using (var file = new FileStream(next, FileMode.Create, FileAccess.Write))
        {
            file.Write(lease.Write());
            file.Flush(flushToDisk: true);
        }

        File.Move(next, Of(lease.Fault.Id), overwrite: true);
        FlushFolder();
    }

    public void Remove(string id)
    {
        File.Delete(Of(id));
        FlushFolder();
    }

    /// <summary>
    /// Every lease there is. What is none is moved aside, under a name that says so, and told in the log: whoever finds it can look at it, and
    /// no start fails over it.
    /// </summary>
    public IReadOnlyList<FaultLease> Read()
    {
        if (!Directory.Exists(path))
        {
            return [];
        }

        var leases = new List<FaultLease>();
        foreach (var file in Directory.EnumerateFiles(path, "*" + Extension).Order(StringComparer.Ordinal).Take(MaxFiles).ToList())
        {
            try
            {
                var length = new FileInfo(file).Length;
                var lease = length > FaultLease.MaxLength ? throw new InvalidDataException($"it has {length} bytes, and a lease at most {FaultLease.MaxLength}")
                    : FaultLease.Parse(File.ReadAllBytes(file));
                leases.Add(Of(lease.Fault.Id) == file ? lease
                    : throw new InvalidDataException($"it is the lease of fault {lease.Fault.Id}, and not named so"));
            }
            catch (Exception e) when (e is InvalidDataException or IOException or UnauthorizedAccessException)
            {
                Log.BadLease(log, file, file + Garbage, e.Message);
                Quarantine(file);
            }
        }

        return leases;
    }

    private static void Quarantine(string file)
    {
        try
        {
            File.Move(file, file + Garbage, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It was told, and is looked at again at the next start.
        }
    }

    /// <summary>Names are on the disk when the folder is.</summary>
    private void FlushFolder()
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        using var folder = new SafeFileHandle(open(path, ReadOnly | CloseOnExec), ownsHandle: true);
        if (!folder.IsInvalid)
        {
            _ = fsync(folder);
        }
    }

    private const int ReadOnly = 0, CloseOnExec = 0x80000;

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint open(string path, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fsync(SafeFileHandle descriptor);
}
