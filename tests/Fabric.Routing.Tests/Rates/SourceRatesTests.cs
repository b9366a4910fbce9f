using System.Net;
using Fabric.Routing.Rates;

namespace Fabric.Routing.Tests.Rates;

public class SourceRatesTests
{
    private static readonly SourceLimit Limit = new(PerSecond: 10, AtOnce: 20, Sources: 100);

    private readonly SourceRates<int> _rates = new(Limit);

    [Fact]
    public void A_source_has_its_bucket_at_once_and_then_its_rate()
    {
        Assert.Equal(20, Taken(1, TimeSpan.Zero));
        Assert.Equal(0, Taken(1, TimeSpan.FromMilliseconds(99)));
        Assert.Equal(1, Taken(1, TimeSpan.FromMilliseconds(101)));
        Assert.Equal(20, Taken(2, TimeSpan.FromMilliseconds(101)));

        // Never more than the bucket, however long the pause; refusals were counted.
        Assert.Equal(20, Taken(1, TimeSpan.FromHours(1)));
        Assert.Equal(5, _rates.Refused);
    }

    [Fact]
    public void Asking_while_refused_costs_nothing()
    {
        Taken(1, TimeSpan.Zero);
        for (var ms = 0; ms < 1000; ms++)
        {
            _rates.TryTake(1, TimeSpan.FromMilliseconds(ms));
        }

        // What came in between was taken as it came: ten in this second.
        Assert.InRange(_rates.Refused, 1000 + 1 - 10, 1000 + 1 - 9);
    }

    [Fact]
    public void At_the_full_table_new_sources_share_one_bucket_until_a_place_is_quiet()
    {
        for (var source = 0; source < Limit.Sources; source++)
        {
            Assert.True(_rates.TryTake(source, TimeSpan.Zero));
        }

        Assert.Equal(Limit.Sources, _rates.Count);
        var taken = Enumerable.Range(1_000, 10_000).Count(stranger => _rates.TryTake(stranger, TimeSpan.FromMilliseconds(50)));
        Assert.Equal(Limit.AtOnce, taken);

        // Those that have a place keep their own bucket.
        Assert.Equal(19, Taken(7, TimeSpan.FromMilliseconds(50)));

        // A source that took one is full again after 100 ms: its place is free.
        Assert.True(_rates.TryTake(20_000, TimeSpan.FromMilliseconds(101)));
        Assert.Equal(20 - 1, Taken(20_000, TimeSpan.FromMilliseconds(101)));
        Assert.Equal(Limit.Sources, _rates.Count);
    }

    [Fact]
    public void Whoever_is_forgotten_gains_nothing()
    {
        for (var source = 0; source < Limit.Sources; source++)
        {
            Taken(source, TimeSpan.Zero);
        }

        // Hammered on, the first is no longer the one that was heard of first; nobody has a full bucket, so nobody is forgotten.
        for (var stranger = 1_000; stranger < 3_000; stranger++)
        {
            _rates.TryTake(stranger, TimeSpan.FromSeconds(1));
        }

        Assert.Equal(10, Taken(0, TimeSpan.FromSeconds(1)));
    }

    [Fact]
    public void A_clock_that_two_callers_read_out_of_order_does_no_harm()
    {
        Assert.Equal(20, Taken(1, TimeSpan.FromSeconds(5)));
        Assert.Equal(0, Taken(1, TimeSpan.FromSeconds(4)));
        Assert.Equal(10, Taken(1, TimeSpan.FromSeconds(6)));
    }

    [Fact]
    public void Many_threads_take_no_more_than_there_is()
    {
        var taken = 0;
        Parallel.For(0, 10_000, _ =>
        {
            if (_rates.TryTake(1, TimeSpan.FromSeconds(1)))
            {
                Interlocked.Increment(ref taken);
            }
        });
        Assert.Equal((20, 9_980L), (taken, _rates.Refused));
    }

    [Theory]
    [InlineData("192.0.2.1", "192.0.2.1")]
    [InlineData("::ffff:192.0.2.1", "192.0.2.1")]
    [InlineData("2001:db8:0:1:ffff::2", "2001:db8:0:1::")]
    [InlineData("::1", "::")]
    public void An_ipv6_source_is_its_64(string address, string source) =>
        Assert.Equal(IPAddress.Parse(source), AddressSource.Of(IPAddress.Parse(address)));

    private int Taken(int source, TimeSpan now)
    {
        var taken = 0;
        while (_rates.TryTake(source, now))
        {
            taken++;
        }

        return taken;
    }
}
