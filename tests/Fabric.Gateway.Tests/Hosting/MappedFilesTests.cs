using System.Globalization;
using System.IO.MemoryMappedFiles;

using Fabric.Gateway.Hosting;
using Fabric.Testing;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>
/// What files are mapped for is taken out of memory where nothing can be lost by it, and nowhere else. Alone: gateways of other tests, in this process,
/// do the same when they are idle.
/// </summary>
[CollectionDefinition(nameof(MappedFilesTests), DisableParallelization = true)]
[Collection(nameof(MappedFilesTests))]
public sealed class MappedFilesTests
{
    private const string Smaps = """
        55d0c2a00000-55d0c2a10000 r-xp 00003000 fe:00 248149                     /usr/bin/fabricd
        Size:                 64 kB
        Rss:                  60 kB
        Anonymous:             0 kB
        VmFlags: rd ex mr mw me
        55d0c2a10000-55d0c2a20000 r--p 00013000 fe:00 248149                     /usr/bin/fabricd (deleted)
        Rss:                   8 kB
        Anonymous:             0 kB
        55d0c2a20000-55d0c2a30000 r--p 00023000 fe:00 248149                     /usr/lib/relocated.so
        Rss:                  64 kB
        Anonymous:             4 kB
        55d0c2a30000-55d0c2a40000 rw-p 00033000 fe:00 248149                     /usr/lib/written.so
        Rss:                  64 kB
        Anonymous:             0 kB
        7f0000000000-7f0000010000 r--s 00000000 fe:00 248150                     /usr/lib/a-library.dll
        Rss:                   0 kB
        Anonymous:             0 kB
        7f0000010000-7f0000020000 r-xs 00000000 00:01 2048                       /memfd:doublemapper (deleted)
        Rss:                  64 kB
        Anonymous:             0 kB
        7f0000020000-7f0000030000 r--p 00000000 00:00 0
        Rss:                  64 kB
        Anonymous:             0 kB
        7f0000030000-7f0000031000 r-xp 00000000 00:00 0                          [vdso]
        Rss:                   4 kB
        Anonymous:             0 kB

        """;

    [Fact]
    public void Only_files_count_that_cannot_be_written_and_were_not()
    {
        var path = Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, Smaps);
            var found = new HashSet<MappedFiles.Mapping>();
            using (var file = File.OpenHandle(path))
            {
                MappedFiles.Read(file, found);
            }

            Assert.Equal(
                [(0x55d0c2a00000UL, 0x55d0c2a10000UL, 60L), (0x55d0c2a10000UL, 0x55d0c2a20000UL, 8L), (0x7f0000000000UL, 0x7f0000010000UL, 0L)],
                found.OrderBy(m => m.Start).Select(m => (m.Start, m.End, m.ResidentKib)));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [RequiresFact("linux")]
    public void What_was_read_goes_out_of_memory_and_comes_back_as_it_was()
    {
        const int Size = 4 << 20;
        var path = Path.GetTempFileName();
        try
        {
            var content = new byte[Size];
            new Random(1).NextBytes(content);
            File.WriteAllBytes(path, content);
            using var read = MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read);
            using var view = read.CreateViewAccessor(0, Size, MemoryMappedFileAccess.Read);
            using var copied = MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.CopyOnWrite);
            using var own = copied.CreateViewAccessor(0, Size, MemoryMappedFileAccess.CopyOnWrite);
            own.Write(5 << 10, 0x600DF00D);
            Assert.Equal(content, Bytes(view, Size));

            var files = new MappedFiles();
            Assert.Equal(0, files.LetGo());
            Assert.Equal(Size / 1024, Resident(view));
            Assert.InRange(files.LetGo(), Size / 1024, long.MaxValue);
            Assert.Equal(0, Resident(view));

            Assert.Equal(content, Bytes(view, Size));
            Assert.Equal(0x600DF00D, own.ReadInt32(5 << 10));
        }
        finally
        {
            File.Delete(path);
        }
    }

    /// <summary>Garbage would be a reason to collect again.</summary>
    [RequiresFact("linux")]
    public void Looking_makes_no_garbage_to_speak_of()
    {
        var files = new MappedFiles();
        files.LetGo();
        var before = GC.GetAllocatedBytesForCurrentThread();
        files.LetGo();
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, IdleCollector.Little / 2);
    }

    private static byte[] Bytes(MemoryMappedViewAccessor view, int size)
    {
        var bytes = new byte[size];
        view.ReadArray(0, bytes, 0, size);
        return bytes;
    }

    /// <summary>KiB, as the kernel says.</summary>
    private static long Resident(MemoryMappedViewAccessor view)
    {
        var start = view.SafeMemoryMappedViewHandle.DangerousGetHandle().ToString("x", CultureInfo.InvariantCulture);
        return File.ReadLines("/proc/self/smaps").SkipWhile(l => !l.StartsWith($"{start}-", StringComparison.Ordinal)).First(l => l.StartsWith("Rss:", StringComparison.Ordinal)) is var line
            ? long.Parse(line["Rss:".Length..].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture) : 0;
    }
}
