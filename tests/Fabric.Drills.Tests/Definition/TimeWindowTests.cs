using Fabric.Drills.Definition;

namespace Fabric.Drills.Tests.Definition;

public class TimeWindowTests
{
    [Theory]
    // 2026-11-27 is a Friday; Paris is an hour ahead of UTC then.
    [InlineData("mon-fri 09:00-16:00 Europe/Paris", "2026-11-27T07:59:59Z", null)]
    [InlineData("mon-fri 09:00-16:00 Europe/Paris", "2026-11-27T08:00:00Z", 420.0)]
    [InlineData("mon-fri 09:00-16:00 Europe/Paris", "2026-11-27T14:59:00Z", 1.0)]
    [InlineData("mon-fri 09:00-16:00 Europe/Paris", "2026-11-27T15:00:00Z", null)]
    [InlineData("mon-fri 09:00-16:00 Europe/Paris", "2026-11-28T10:00:00Z", null)]
    [InlineData("sat,sun 00:00-24:00 UTC", "2026-11-28T23:30:00Z", 30.0)]
    // Days are those on which it opens: on Saturday at 3 it is Friday's.
    [InlineData("fri 22:00-04:00 UTC", "2026-11-28T03:00:00Z", 60.0)]
    [InlineData("sat 22:00-04:00 UTC", "2026-11-28T03:00:00Z", null)]
    [InlineData("fri-mon 10:00-11:00 UTC", "2026-11-30T10:30:00Z", 30.0)]
    [InlineData("fri-mon 10:00-11:00 UTC", "2026-11-26T10:30:00Z", null)]
    [InlineData("10:00-11:00 UTC", "2026-11-26T10:30:00Z", 30.0)]
    // In summer two hours ahead; on the day when the clocks go forward, 02:30 does not exist and stands for 03:30, which is 01:30 UTC.
    [InlineData("mon-fri 09:00-16:00 Europe/Paris", "2026-07-01T07:00:00Z", 420.0)]
    [InlineData("sun 02:30-05:00 Europe/Paris", "2026-03-29T01:29:00Z", null)]
    [InlineData("sun 02:30-05:00 Europe/Paris", "2026-03-29T01:30:00Z", 90.0)]
    public void Open_for(string text, string now, double? minutes)
    {
        Assert.True(TimeWindow.TryParse(text, out var window, out _, out _));
        Assert.Equal(minutes, window.OpenFor(DateTimeOffset.Parse(now, null))?.TotalMinutes);
    }

    [Theory]
    [InlineData("")]
    [InlineData("always")]
    [InlineData("09:00-16:00")]
    [InlineData("mon 09:00 UTC")]
    [InlineData("mon 9:00-16:00 UTC")]
    [InlineData("mon 09:00-25:00 UTC")]
    [InlineData("mon 09:00-09:00 UTC")]
    [InlineData("mon 24:00-09:00 UTC")]
    [InlineData("mon-tue-wed 09:00-10:00 UTC")]
    [InlineData("mon, 09:00-10:00 UTC")]
    [InlineData("mon 09:00-10:00 Mars/Olympus")]
    [InlineData("mon 09:00-10:00 UTC and more")]
    public void What_is_no_window(string text)
    {
        Assert.False(TimeWindow.TryParse(text, out _, out var problem, out _));
        Assert.NotEmpty(problem);
    }
}
