using Fabric.Gateway.Dns.Forwarding;

namespace Fabric.Gateway.Tests.Dns;

/// <summary>Who gets how many of the forwarder's places.</summary>
public sealed class DnsShareTests
{
    private static readonly byte[] _one = [192, 0, 2, 1];
    private static readonly byte[] _other = [192, 0, 2, 2];

    [Fact]
    public void One_alone_gets_half_and_who_comes_later_finds_a_place()
    {
        var shares = new DnsShares(100);
        Assert.Equal(50, Take(shares, _one).Count);
        Assert.Equal(25, Take(shares, _other).Count);
        Assert.Equal(75, shares.Taken);
        Assert.NotEmpty(Take(shares, [192, 0, 2, 3]));
        Assert.NotEmpty(Take(shares, [192, 0, 2, 4]));
    }

    [Fact]
    public void Of_two_that_always_want_more_each_comes_to_a_third()
    {
        var shares = new DnsShares(99);
        var of = new Dictionary<byte, Queue<DnsShares.Place>> { [1] = new(Take(shares, _one)), [2] = new() };
        var random = new Random(1);
        for (var i = 0; i < 20_000; i++)
        {
            var client = (byte)(1 + i % 2);
            if (random.Next(3) == 0 && of[client].TryDequeue(out var over))
            {
                over.Dispose();
            }
            else if (shares.TryTake([192, 0, 2, client], out _) is { } place)
            {
                of[client].Enqueue(place);
            }
        }

        Assert.All(of.Values, places => Assert.InRange(places.Count, 28, 38));
    }

    [Fact]
    public void What_is_given_back_is_there_again_and_nobody_is_remembered()
    {
        var shares = new DnsShares(10);
        for (var round = 0; round < 3; round++)
        {
            var taken = Take(shares, _one);
            Assert.Equal(5, taken.Count);
            Assert.Null(shares.TryTake(_one, out var has));
            Assert.Equal(5, has);
            taken.ForEach(t => t.Dispose());
            // Twice is once.
            taken[0].Dispose();
            Assert.Equal(0, shares.Taken);
            Assert.NotNull(shares.TryTake(_one, out has));
            Assert.Equal(0, has);
            shares = new DnsShares(10);
        }
    }

    [Fact]
    public void A_client_is_an_IPv4_address_or_an_IPv6_network()
    {
        var shares = new DnsShares(8);
        byte[] first = [0x20, 1, 0xd, 0xb8, .. new byte[11], 1];
        byte[] same = [.. first[..15], 2];
        byte[] elsewhere = [.. first[..7], 9, .. first[8..]];
        Assert.Equal(4, Take(shares, first).Count);
        Assert.Empty(Take(shares, same));
        Assert.Equal(2, Take(shares, elsewhere).Count);
        Assert.Single(Take(shares, default));
        Assert.Null(shares.TryTake(default, out _));
    }

    [Fact]
    public void A_single_place_is_for_whom_comes_first()
    {
        var shares = new DnsShares(1);
        Assert.Single(Take(shares, _one));
        Assert.Empty(Take(shares, _other));
    }

    private static List<DnsShares.Place> Take(DnsShares shares, ReadOnlySpan<byte> client)
    {
        var taken = new List<DnsShares.Place>();
        while (shares.TryTake(client, out _) is { } place)
        {
            taken.Add(place);
        }

        return taken;
    }
}
