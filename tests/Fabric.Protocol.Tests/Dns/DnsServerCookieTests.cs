using System.Net;
using Fabric.Protocol.Dns;

namespace Fabric.Protocol.Tests.Dns;

public class DnsServerCookieTests
{
    private const uint Time = 1559731985;
    private static readonly byte[] Secret = Convert.FromHexString("e5e973e5a6b2a43f48e7dc849e37bfcf");
    private static readonly byte[] Client = Convert.FromHexString("2464c4abcf10c957");
    private static readonly byte[] Address = IPAddress.Parse("198.51.100.100").GetAddressBytes();

    [Fact]
    public void SipHash_gives_what_its_authors_print()
    {
        // Appendix A of the paper.
        var key = Enumerable.Range(0, 16).Select(i => (byte)i).ToArray();
        Assert.Equal(0xa129ca6149be45e5UL, SipHash.Hash(key, key.AsSpan(0, 15)));
    }

    [Fact]
    public void A_cookie_is_the_one_of_RFC_9018()
    {
        var cookie = new byte[DnsServerCookie.Length];
        DnsServerCookie.Write(cookie, Client, Time, Address, Secret);
        Assert.Equal("2464C4ABCF10C957010000005CF79F111F8130C3EEE29480", Convert.ToHexString(cookie));
    }

    [Theory]
    [InlineData(0, true)]
    [InlineData(3600, true)]
    [InlineData(3601, false)]
    [InlineData(-300, true)]
    [InlineData(-301, false)]
    public void It_lives_an_hour_and_may_be_five_minutes_ahead(int later, bool valid)
    {
        var cookie = new byte[DnsServerCookie.Length];
        DnsServerCookie.Write(cookie, Client, Time, Address, Secret);
        Assert.Equal(valid, DnsServerCookie.IsValid(cookie, (uint)(Time + later), Address, Secret));
    }

    [Fact]
    public void Every_byte_counts_and_so_does_the_address()
    {
        var cookie = new byte[DnsServerCookie.Length];
        DnsServerCookie.Write(cookie, Client, Time, Address, Secret);
        Assert.True(DnsServerCookie.IsValid(cookie, Time, Address, Secret));
        for (var i = 0; i < cookie.Length; i++)
        {
            var changed = cookie.ToArray();
            changed[i] ^= 1;
            Assert.False(DnsServerCookie.IsValid(changed, Time, Address, Secret), $"byte {i}");
        }

        Assert.False(DnsServerCookie.IsValid(cookie, Time, [198, 51, 100, 101], Secret));
        Assert.False(DnsServerCookie.IsValid(cookie.AsSpan(0, 8), Time, Address, Secret));
    }

    [Fact]
    public void Over_IPv6_it_is_another()
    {
        var six = IPAddress.Parse("2001:db8::1").GetAddressBytes();
        var cookie = new byte[DnsServerCookie.Length];
        DnsServerCookie.Write(cookie, Client, Time, six, Secret);
        Assert.True(DnsServerCookie.IsValid(cookie, Time, six, Secret));
        Assert.False(DnsServerCookie.IsValid(cookie, Time, Address, Secret));
    }
}
