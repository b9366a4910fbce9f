using Fabric.Gateway.Telemetry;
using Fabric.Testing;

namespace Fabric.Gateway.Tests.Telemetry;

[System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
public sealed class AuditLogTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private string Log => _folder["audit.log"];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Entries_are_lines_of_json_in_order_for_owner_and_group()
    {
        await using (var log = new AuditLog(Log))
        {
            AddMany(log, 100);
        }

        var lines = AuditLines.Read(Log);
        Assert.Equal(Enumerable.Range(0, 100).Select(i => $"caller-{i}"), lines.Select(l => l["caller"]));
        Assert.Equal(["time", "verdict", "caller", "assertedBy", "established", "service", "reason"], lines[0].Keys);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead, File.GetUnixFileMode(Log));
    }

    [Fact]
    public async Task Next_run_appends()
    {
        for (var run = 0; run < 2; run++)
        {
            await using var log = new AuditLog(Log);
            AddMany(log, 3);
        }

        Assert.Equal(6, AuditLines.Read(Log).Count);
    }

    [Fact]
    public async Task Full_file_moves_on_and_three_predecessors_stay()
    {
        for (var run = 0; run < 6; run++)
        {
            await using var log = new AuditLog(Log, rotateAtBytes: 1);
            log.Add(Entry($"run-{run}"));
        }

        Assert.False(File.Exists(Log));
        Assert.Equal(
            ["run-5", "run-4", "run-3"], Enumerable.Range(1, 3).Select(i => Assert.Single(AuditLines.Read($"{Log}.{i}"))["caller"]));
        Assert.False(File.Exists($"{Log}.4"));
    }

    [Fact]
    public async Task Every_entry_is_written_or_counted_as_dropped()
    {
        const int added = 200_000;
        var log = new AuditLog(Log);
        AddMany(log, added);
        await log.DisposeAsync();

        Assert.Equal(added, log.Written + log.Dropped);
        Assert.Equal(log.Written, AuditLines.Read(Log).Count);
        Assert.True(log.Written >= 4096, $"written {log.Written}");
    }

    [Fact]
    public async Task Steady_load_does_not_keep_the_file_from_rotating()
    {
        var log = new AuditLog(Log, rotateAtBytes: 64 << 10);
        for (var i = 0; !File.Exists($"{Log}.3"); i++)
        {
            Assert.True(i < 10_000_000, "rotated three times");
            log.Add(Entry($"caller-{i}"));
        }

        await log.DisposeAsync();
    }

    [Theory]
    [InlineData("a folder in place of the file")]
    [InlineData("no such folder")]
    [InlineData("a full disk")]
    public async Task What_the_disk_refuses_is_counted_once_and_the_writer_goes_on(string fault)
    {
        var path = fault switch
        {
            "a folder in place of the file" => Directory.CreateDirectory(_folder["audit.log"]).FullName,
            "no such folder" => _folder["gone", "audit.log"],
            _ => File.CreateSymbolicLink(_folder["audit.log"], "/dev/full").FullName,
        };
        var log = new AuditLog(path);
        for (var i = 1; i <= 3; i++)
        {
            log.Add(Entry("lost"));
            await Wait.UntilAsync(() => log.Dropped == i, () => $"dropped {log.Dropped} of {i}");
        }

        Assert.Equal(0, log.Written);
        if (fault == "no such folder")
        {
            Directory.CreateDirectory(_folder["gone"]);
            log.Add(Entry("kept"));
        }

        await log.DisposeAsync().AsTask().WaitAsync(Wait.Limit);
        Assert.Equal(3, log.Dropped);
        Assert.Equal(fault == "no such folder" ? 1 : 0, log.Written);
    }

    private static void AddMany(AuditLog log, int count)
    {
        for (var i = 0; i < count; i++)
        {
            log.Add(Entry($"caller-{i}"));
        }
    }

    private static AuditEntry Entry(string caller) => new()
    {
        Time = DateTimeOffset.UnixEpoch,
        Verdict = "deny",
        Caller = caller,
        AssertedBy = "paris-1",
        Established = "gateway",
        Service = "web.shop:80",
        Reason = "a reason of \"some\"\nlength",
    };
}
