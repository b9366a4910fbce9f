using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using Fabric.Gateway.Hosting;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>Against a datagram socket such as systemd's.</summary>
public sealed class SystemdNotifierTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly Socket _systemd = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified) { ReceiveTimeout = 10_000 };

    public void Dispose()
    {
        _systemd.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void Each_message_is_one_datagram_of_assignments()
    {
        using var notifier = Listen(null);

        notifier.Ready("paris-1 of paris ready");
        Assert.Equal("READY=1\nSTATUS=paris-1 of paris ready", Received());
        notifier.Status("é");
        Assert.Equal("STATUS=é", Received());
        notifier.Stopping("draining");
        Assert.Equal("STOPPING=1\nSTATUS=draining", Received());
        notifier.Watchdog();
        Assert.Equal("WATCHDOG=1", Received());
    }

    [Fact]
    public void Reloading_says_when_on_the_monotonic_clock()
    {
        using var notifier = Listen(null);
        var before = Stopwatch.GetTimestamp() / (Stopwatch.Frequency / 1_000_000);
        notifier.Reloading();
        var lines = Received().Split('\n');
        var after = Stopwatch.GetTimestamp() / (Stopwatch.Frequency / 1_000_000);

        Assert.Equal("RELOADING=1", lines[0]);
        Assert.StartsWith("MONOTONIC_USEC=", lines[1], StringComparison.Ordinal);
        Assert.InRange(long.Parse(lines[1]["MONOTONIC_USEC=".Length..], CultureInfo.InvariantCulture), before, after);
    }

    [Fact]
    public void Status_of_several_lines_is_one_assignment()
    {
        using var notifier = Listen(null);

        notifier.Status("refused: a.yaml:1:1: error\nMAINPID=1\r\nmore");

        Assert.Equal("STATUS=refused: a.yaml:1:1: error MAINPID=1 more", Received());
    }

    [RequiresFactOnLinux]
    public void Abstract_address_is_written_with_an_at_sign()
    {
        var name = $"fabric-test-{Guid.NewGuid():N}";
        _systemd.Bind(new UnixDomainSocketEndPoint("\0" + name));
        using var notifier = new SystemdNotifier("@" + name, null);

        notifier.Watchdog();

        Assert.Equal("WATCHDOG=1", Received());
    }

    [Theory]
    [InlineData("30000000", 15.0)]
    [InlineData("1", 0.0000005)]
    [InlineData("0", null)]
    [InlineData("-5", null)]
    [InlineData("soon", null)]
    [InlineData("", null)]
    [InlineData(null, null)]
    public void Watchdog_is_fed_at_half_the_interval(string? microseconds, double? seconds)
    {
        using var notifier = Listen(microseconds);

        Assert.Equal(seconds is { } s ? TimeSpan.FromSeconds(s) : null, notifier.WatchdogInterval);
    }

    [Fact]
    public void Without_systemd_nothing_happens()
    {
        foreach (var none in new[] { null, "", _folder["nobody-listens"] })
        {
            using var notifier = new SystemdNotifier(none, null);
            notifier.Ready("ready");
            notifier.Watchdog();
            Assert.Null(notifier.WatchdogInterval);
        }
    }

    private SystemdNotifier Listen(string? watchdog)
    {
        _systemd.Bind(new UnixDomainSocketEndPoint(_folder["notify"]));
        return new SystemdNotifier(_folder["notify"], watchdog);
    }

    private string Received()
    {
        var buffer = new byte[4096];
        return Encoding.UTF8.GetString(buffer, 0, _systemd.Receive(buffer));
    }

    private sealed class RequiresFactOnLinuxAttribute : FactAttribute
    {
        public RequiresFactOnLinuxAttribute() => Skip = OperatingSystem.IsLinux() ? null! : "abstract addresses are Linux's";
    }
}
