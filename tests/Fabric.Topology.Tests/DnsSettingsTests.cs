using Fabric.Topology.Model;

namespace Fabric.Topology.Tests;

public class DnsSettingsTests
{
    private const string Base = """
        fabric: 1
        trustDomain: acme.example
        sites:
          - name: paris
            gateways: [ { name: paris-1 } ]
        services:
          - name: web
            namespace: shop
            ports: [ { name: https, port: 443 } ]
            exports: [ { site: paris, endpoints: [ "127.0.0.1:8443" ] } ]

        """;

    [Fact]
    public void Without_a_word_absent_services_answer_by_their_kind_and_nothing_listens_for_TLS()
    {
        var topology = Accept(Base);
        Assert.Equal(new DnsSettings { Absent = null, ResponsesPerSecond = 1000 }, topology.Dns);
        Assert.Null(topology.FindGateway("paris-1")!.DnsTls);
        Assert.Empty(topology.Services[0].Ports[0].Alpn);
    }

    [Theory]
    [InlineData("nodata", AbsentAnswer.NoData)]
    [InlineData("nxdomain", AbsentAnswer.NxDomain)]
    [InlineData("servfail", AbsentAnswer.ServFail)]
    public void What_was_asked_is_accepted(string word, AbsentAnswer absent)
    {
        var topology = Accept((Base + $"dns: {{ absent: {word}, responsesPerSecond: 0 }}\n")
            .Replace("name: paris-1", "name: paris-1, dnsTls: \"127.0.0.1:853\"").Replace("port: 443", "port: 443, alpn: [ h2, http/1.1 ]"));
        Assert.Equal(new DnsSettings { Absent = absent, ResponsesPerSecond = 0 }, topology.Dns);
        Assert.Equal("127.0.0.1:853", topology.FindGateway("paris-1")!.DnsTls?.ToString());
        Assert.Equal(["h2", "http/1.1"], topology.Services[0].Ports[0].Alpn.AsEnumerable());
    }

    [Theory]
    [InlineData("dns: { absent: refused }", DiagnosticCodes.BadChoice)]
    [InlineData("dns: { responsesPerSecond: 50001 }", DiagnosticCodes.BadNumber)]
    [InlineData("dns: { other: 1 }", DiagnosticCodes.UnknownKey)]
    public void What_breaks_a_rule_is_refused(string line, string code) => Assert.Equal(code, Refuse(Base + line + "\n"));

    [Theory]
    [InlineData("port: 443", "port: 443, alpn: [ h3 ]", DiagnosticCodes.BadChoice)]
    [InlineData("port: 443", "port: 443, alpn: []", DiagnosticCodes.BadCount)]
    [InlineData("port: 443", "port: 443, alpn: [ h2, mqtt, imap, pop3, irc ]", DiagnosticCodes.BadCount)]
    [InlineData("port: 443", "port: 443, protocol: http, tls: svid, alpn: [ h2, mqtt ]", DiagnosticCodes.DoesNotApply)]
    [InlineData("name: https", "name: a23456789-123456789-123456789-123456789-123456789-123456789-123", DiagnosticCodes.BadName)]
    [InlineData("port: 443", "port: 443, protocol: http, alpn: [ h2 ]", DiagnosticCodes.DoesNotApply)]
    [InlineData("port: 443", "port: 443, protocol: udp, alpn: [ h2 ]", DiagnosticCodes.DoesNotApply)]
    [InlineData("port: 443", "port: 443, tls: mutual", DiagnosticCodes.BadChoice)]
    [InlineData("port: 443", "port: 443, protocol: udp, tls: svid", DiagnosticCodes.DoesNotApply)]
    [InlineData("port: 443", "port: 443, protocol: tcp+udp, tls: svid", DiagnosticCodes.DoesNotApply)]
    [InlineData("port: 443", "port: 443, protocol: http, tls: \"off\", alpn: [ h2 ]", DiagnosticCodes.DoesNotApply)]
    [InlineData("name: paris-1", "name: paris-1, dnsTls: \"127.0.0.1:9440\"", DiagnosticCodes.ListenerClash)]
    public void What_does_not_fit_is_refused(string from, string to, string code) => Assert.Equal(code, Refuse(Base.Replace(from, to)));

    [Theory]
    [InlineData("name: https, port: 443", 241, true)]
    [InlineData("name: https, port: 443", 242, false)]
    [InlineData("name: https, port: 443, alpn: [ h2 ]", 239, true)]
    [InlineData("name: https, port: 443, alpn: [ h2 ]", 240, false)]
    [InlineData("port: 443, alpn: [ h2 ]", 239, true)]
    [InlineData("port: 443, alpn: [ h2 ]", 240, false)]
    [InlineData("port: 443", 253, true)]
    [InlineData("port: 443", 254, false)]
    public void The_longest_name_of_a_port_fits_into_a_DNS_name(string port, int length, bool fits)
    {
        // As long as the service's own name is then.
        var domain = length - "web.shop.".Length;
        var labels = string.Join('.', Enumerable.Repeat(new string('a', 49), domain / 50).Append(new string('b', domain % 50)));
        var text = Base.Replace("name: https, port: 443", port) + $"domain: {labels}\n";
        if (fits)
        {
            Accept(text);
        }
        else
        {
            Assert.Equal(DiagnosticCodes.BadDomain, Refuse(text));
        }
    }

    [Fact]
    public void What_is_negotiated_is_more_than_HTTP()
    {
        var port = Accept(Base.Replace("name: https, port: 443", "name: dns, port: 853, alpn: [ dot ]")).Services[0].Ports[0];
        Assert.Equal(["dot"], port.Alpn.AsEnumerable());
        Assert.Equal(PortTls.Svid, Accept(Base.Replace("port: 443", "port: 8883, alpn: [ mqtt ], tls: svid")).Services[0].Ports[0].Tls);
    }

    [Theory]
    [InlineData("port: 443", PortTls.Off)]
    [InlineData("port: 443, tls: \"off\", protocol: udp", PortTls.Off)]
    [InlineData("port: 443, tls: svid", PortTls.Svid)]
    [InlineData("port: 443, tls: svid, protocol: http, alpn: [ h2 ]", PortTls.Svid)]
    public void A_port_says_whether_callers_show_certificates(string port, PortTls tls)
    {
        var after = Accept(Base.Replace("port: 443", port));
        Assert.Equal(tls, after.Services[0].Ports[0].Tls);
        Assert.Equal(tls == PortTls.Svid, TopologyDiff.Between(Accept(Base), after).Any(c => c.ToString().Contains(" tls svid", StringComparison.Ordinal)));
    }

    private static FabricTopology Accept(string text)
    {
        var result = TopologyLoader.Load([new TopologyFile("test.yaml", text)]);
        Assert.True(result.Topology is not null, string.Join('\n', result.Diagnostics));
        return result.Topology!;
    }

    private static string Refuse(string text)
    {
        var result = TopologyLoader.Load([new TopologyFile("test.yaml", text)]);
        Assert.Null(result.Topology);
        return Assert.Single(result.Diagnostics, d => d.Severity == Severity.Error).Code;
    }
}
