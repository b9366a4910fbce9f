using System.Net;
using Fabric.Protocol.Dns;

namespace Fabric.Protocol.Tests.Dns;

/// <summary>What is spoken where, as people read it (RFC 9460 §2.1).</summary>
public class DnsTextTests
{
    private static readonly DnsName _web = DnsName.Parse("web.shop.svc.clusterset.local");

    [Fact]
    public void What_is_written_is_read()
    {
        Assert.Equal(
            "1 . alpn=h2 ipv4hint=127.64.3.9", Text(new DnsServiceBinding(DnsType.Https, 1, DnsName.Root, ["h2", "http/1.1"], null, IPAddress.Parse("127.64.3.9"))));
        Assert.Equal(
            "1 web.shop.svc.clusterset.local. alpn=h2 no-default-alpn port=8443 ipv6hint=fd00::7",
            Text(new DnsServiceBinding(DnsType.Https, 1, _web, ["h2"], 8443, IPAddress.Parse("fd00::7"))));
        Assert.Equal(
            "3 web.shop.svc.clusterset.local. alpn=mqtt,http/1.1 port=8883", Text(new DnsServiceBinding(DnsType.Svcb, 3, _web, ["mqtt", "http/1.1"], 8883, null)));
    }

    [Theory]
    [InlineData("", "\\# 0 ")]
    [InlineData("0001", "\\# 2 0001")]
    [InlineData("000000", "0 .")]
    // A key of 7, and values that are cut, empty, or would have to be escaped.
    [InlineData("0001000007000100", "\\# 8 0001000007000100")]
    [InlineData("00010000010003026832", "1 . alpn=h2")]
    [InlineData("00010000010003036832", "\\# 10 00010000010003036832")]
    [InlineData("0001000001000100", "\\# 8 0001000001000100")]
    [InlineData("000100000100020120", "\\# 9 000100000100020120")]
    [InlineData("00010000010002012c", "\\# 9 00010000010002012c")]
    [InlineData("0001000003000101", "\\# 8 0001000003000101")]
    [InlineData("00010000040003010203", "\\# 10 00010000040003010203")]
    [InlineData("000100000400080102030405060708", "1 . ipv4hint=1.2.3.4,5.6.7.8")]
    [InlineData("00010000040000", "\\# 7 00010000040000")]
    public void What_is_not_known_is_told_as_it_came(string data, string text) =>
        Assert.Equal(text, DnsText.Of(new DnsOpaque(DnsType.Svcb, [.. Convert.FromHexString(data)])));

    private static string Text(DnsServiceBinding binding)
    {
        var buffer = new byte[512];
        var message = new DnsMessage { Flags = DnsFlags.Response, Answers = [new DnsRecord(_web, DnsClass.Internet, 5, binding)] };
        Assert.True(DnsMessage.TryRead(buffer.AsSpan(0, message.Write(buffer)), out var read));
        return DnsText.Of(Assert.Single(read.Answers).Data);
    }
}
