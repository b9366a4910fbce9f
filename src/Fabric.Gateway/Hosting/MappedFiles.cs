using System.Buffers;
using System.Buffers.Text;
using System.Runtime.InteropServices;

using Microsoft.Win32.SafeHandles;

namespace Fabric.Gateway.Hosting;

/// <summary>
/// Takes the pages of mapped files out of the process that nobody wrote to: programs, libraries, compiled code, most of it used once, at
/// the start. Their bytes stay in the system's page cache, and a page that is used again comes back from there by a minor fault, with its
/// neighbours. So what is resident is what is in use. Linux only; elsewhere nothing happens.
/// </summary>
internal sealed partial class MappedFiles
{
    private const int DontNeed = 4;

    /// <summary>Larger than any line: a path has at most 4 KiB.</summary>
    private const int BufferSize = 64 * 1024;

    private HashSet<Mapping> _before = [];

    /// <summary>
    /// Lets go of what was unwritten and not writable at the last call as well: a library that is being loaded is written to for a moment, and
    /// what is written to a private mapping is nowhere else.
    /// </summary>
    /// <returns>KiB that were resident, and let go of.</returns>
    public long LetGo()
    {
        if (!OperatingSystem.IsLinux())
        {
            return 0;
        }

        var now = new HashSet<Mapping>(_before.Count);
        var gone = 0L;
        try
        {
            using var smaps = File.OpenHandle("/proc/self/smaps");
            Read(smaps, now);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A kernel without it, or a /proc that is not mounted.
            return 0;
        }

        foreach (var mapping in now)
        {
            if (mapping.ResidentKib > 0 && _before.Contains(mapping) && Advise((nuint)mapping.Start, (nuint)(mapping.End - mapping.Start), DontNeed) == 0)
            {
                gone += mapping.ResidentKib;
            }
        }

        _before = now;
        return gone;
    }

    /// <summary>Mappings of files, not writable, of which no page was written to.</summary>
    /// <param name="smaps">In the format of proc_pid_smaps(5).</param>
    internal static void Read(SafeFileHandle smaps, HashSet<Mapping> found)
    {
        // Not by lines as strings: those would be garbage of some megabytes, and this is how garbage is got rid of.
        var buffer = ArrayPool<byte>.Shared.Rent(BufferSize);
        try
        {
            var reader = new SmapsReader(found);
            var (kept, position) = (0, 0L);
            while (RandomAccess.Read(smaps, buffer.AsSpan(kept), position) is > 0 and var read)
            {
                position += read;
                var rest = buffer.AsSpan(0, kept + read);
                while (rest.IndexOf((byte)'\n') is >= 0 and var end)
                {
                    reader.Line(rest[..end]);
                    rest = rest[(end + 1)..];
                }

                if (rest.Length == buffer.Length)
                {
                    throw new IOException($"/proc/self/smaps: a line of more than {buffer.Length:N0} bytes");
                }

                rest.CopyTo(buffer);
                kept = rest.Length;
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(nuint start, nuint length, int advice);

    /// <summary>A range of addresses, and how much of it is resident, which makes no other mapping of it.</summary>
    internal readonly record struct Mapping(ulong Start, ulong End, long ResidentKib)
    {
        public bool Equals(Mapping other) => (Start, End) == (other.Start, other.End);
        public override int GetHashCode() => HashCode.Combine(Start, End);
    }

    /// <summary>One line after the other: the head of a mapping, and what is said of it.</summary>
    private struct SmapsReader(HashSet<Mapping> found)
    {
        private Mapping _mapping;
        private bool _candidate;
        private long _resident;

        public void Line(ReadOnlySpan<byte> line)
        {
            if (line.StartsWith("Rss:"u8))
            {
                _resident = Kib(line["Rss:"u8.Length..]);
            }
            else if (line.StartsWith("Anonymous:"u8))
            {
                if (_candidate && Kib(line["Anonymous:"u8.Length..]) == 0)
                {
                    found.Add(_mapping with { ResidentKib = _resident });
                }

                _candidate = false;
            }
            else if (line.IndexOf((byte)'-') is > 0 and var dash && Utf8Parser.TryParse(line, out ulong start, out var digits, 'x') && digits == dash
                && Utf8Parser.TryParse(line[(dash + 1)..], out ulong end, out digits, 'x'))
            {
                var rest = line[(dash + 1 + digits)..];
                _mapping = new Mapping(start, end, 0);
                // A file has a path. So has memory without one that is mapped twice, which is no file's: it would stay where it is.
                _candidate = rest is [(byte)' ', (byte)'r', (byte)'-', _, _, (byte)' ', ..] && rest.IndexOf((byte)'/') >= 0 && rest.IndexOf("memfd:"u8) < 0;
            }
        }

        private static long Kib(ReadOnlySpan<byte> value) => Utf8Parser.TryParse(value.TrimStart((byte)' '), out long kib, out _) ? kib : long.MaxValue;
    }
}
