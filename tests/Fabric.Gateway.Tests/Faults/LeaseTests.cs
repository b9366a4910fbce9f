using System.Text;
using Fabric.Gateway.Faults;

namespace Fabric.Gateway.Tests.Faults;

/// <summary>The files by which faults end, whatever becomes of the process.</summary>
public sealed class LeaseTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly CapturedLog _log = new();

    private LeaseFolder Leases => new(_folder["faults"], _log);

    public void Dispose() => _folder.Dispose();

    private static FaultLease Lease(string id = "cut-1") => new(
        FaultRules.Check(FaultRulesTests.Cut(id)), "kernel", "boot", new DateTimeOffset(2026, 11, 27, 16, 0, 0, TimeSpan.Zero), "dx0");

    [Fact]
    public void A_lease_is_read_back_and_is_gone_when_it_is_removed()
    {
        Assert.Empty(Leases.Read());
        Leases.Write(Lease("a"));
        Leases.Write(Lease("b"));
        Assert.Equal([Lease("a"), Lease("b")], Leases.Read());
        Leases.Remove("a");
        Leases.Remove("a");
        Assert.Equal([Lease("b")], Leases.Read());
        Assert.Equal(["b.json"], Directory.GetFiles(_folder["faults"]).Select(Path.GetFileName));
    }

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{\"Version\":1}")]
    [InlineData("{\"Version\":2,\"Fault\":\"{}\",\"Means\":\"\",\"Boot\":\"\",\"EndsAt\":\"\",\"Detail\":\"\"}")]
    [InlineData("{\"Version\":1,\"Fault\":\"{}\",\"Means\":\"\",\"Boot\":\"\",\"EndsAt\":\"\",\"Detail\":\"; reboot\"}")]
    [InlineData("\0\0\0\0")]
    public void What_is_no_lease_is_named_and_moved_aside(string text)
    {
        Leases.Write(Lease("good"));
        var bad = _folder.Write("faults/bad.json", text);
        Assert.Equal([Lease("good")], Leases.Read());
        Assert.False(File.Exists(bad));
        Assert.Equal(text, File.ReadAllText(bad + ".garbage"));
        Assert.Contains(_log.Lines, l => l.Contains(bad, StringComparison.Ordinal));
        _log.Lines.Clear();
        Assert.Equal([Lease("good")], Leases.Read());
        Assert.Empty(_log.Lines);
    }

    [Fact]
    public void A_lease_under_another_name_and_one_that_is_huge_are_none()
    {
        Leases.Write(Lease("a"));
        File.Move(Leases.Of("a"), Leases.Of("b"));
        using (var file = File.Create(Leases.Of("huge")))
        {
            file.SetLength(1 << 30);
        }

        Assert.Empty(Leases.Read());
        Assert.Equal(2, Directory.GetFiles(_folder["faults"], "*.garbage").Length);
    }

    [Fact]
    public void Whatever_bytes_a_file_holds_it_is_a_lease_or_bad_data()
    {
        var good = Lease().Write();
        Assert.Equal(Lease(), FaultLease.Parse(good));
        var random = new Random(7);
        for (var round = 0; round < 20_000; round++)
        {
            var bytes = good.ToArray();
            for (var changes = random.Next(1, 6); changes > 0; changes--)
            {
                switch (random.Next(3))
                {
                    case 0:
                        bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
                        break;
                    case 1:
                        bytes = bytes[..random.Next(1, bytes.Length + 1)];
                        break;
                    default:
                        var at = random.Next(bytes.Length);
                        bytes = [.. bytes[..at], .. Encoding.ASCII.GetBytes(Words[random.Next(Words.Length)]), .. bytes[at..]];
                        break;
                }
            }

            try
            {
                // What is accepted is within the rules.
                var read = FaultLease.Parse(bytes);
                FaultRules.Check(read.Fault);
                Assert.True(read.Detail.Length <= 15);
            }
            catch (InvalidDataException)
            {
                // Said, and moved aside.
            }
        }
    }

    private static readonly string[] Words = ["\"", "\\u0000", "{", "}", "[[[[", "null", "1e999", "-1", "\\\"id\\\":\\\"x\\\"", "durationMs", "\\ud800", ",", "\n"];
}
