using Fabric.Identity.Trust;
using Fabric.Protocol.Proto;
using Google.Protobuf;

namespace Fabric.Identity.Tests.Trust;

/// <summary>What is taken for a gateway's word on whom it trusts, and what is not.</summary>
public class SignedReportTests
{
    [Fact]
    public void A_report_is_taken_from_whoever_hands_it_on_when_its_gateway_has_signed_it()
    {
        using var mesh = new Mesh();
        var (paris, rome) = (mesh.Join("paris", "paris-1"), mesh.Join("rome", "rome-1"));

        var signed = SignedReport.Parser.ParseFrom(rome.Sign(Report(7), rome.State).ToByteArray());

        var report = SignedReports.Read(signed);
        paris.Check(signed, report);
        Assert.Equal(Report(7), report);
    }

    [Fact]
    public void Forged_reports_are_refused_with_the_reason()
    {
        using var mesh = new Mesh();
        using var foreign = new Mesh();
        var (paris, rome, evil) = (mesh.Join("paris", "paris-1"), mesh.Join("rome", "rome-1"), mesh.Join("evil", "evil-1"));
        var good = rome.Sign(Report(7), rome.State);

        var altered = new SignedReport(good) { Statement = Report(8).ToByteString() };
        Assert.Equal("the report of rome/rome-1 has a wrong signature", Refused(paris, altered));
        Assert.Contains("wrong signature", Refused(paris, new SignedReport(good) { Signature = ByteString.Empty }));

        // Another's key under that gateway's certificate, another gateway for this one, and one of the same name of another site.
        var borrowed = evil.Sign(Report(7), evil.State);
        borrowed.Chain[0] = good.Chain[0];
        Assert.Contains("wrong signature", Refused(paris, borrowed));
        Assert.Equal("the report of rome/rome-1 was signed by evil/evil-1: each gateway speaks for itself alone", Refused(paris, evil.Sign(Report(7), evil.State)));
        var namesake = mesh.Join("evil", "rome-1");
        Assert.Contains("was signed by evil/rome-1", Refused(paris, namesake.Sign(Report(7), namesake.State)));

        var stranger = foreign.Join("rome", "rome-1");
        Assert.Contains("was signed by nobody who is trusted here", Refused(paris, stranger.Sign(Report(7), stranger.State)));
    }

    [Fact]
    public void A_report_is_worth_nothing_when_its_gateway_is_out_or_its_certificate_has_ended()
    {
        using var mesh = new Mesh();
        var (paris, rome) = (mesh.Join("paris", "paris-1"), mesh.Join("rome", "rome-1"));
        var signed = rome.Sign(Report(7), rome.State);

        paris.Accept(TrustDocumentTests.Authority(mesh).Evict("rome"), _ => { });
        Assert.EndsWith("site rome was evicted from the mesh [evicted]", Refused(paris, signed));
        paris.Accept(TrustDocumentTests.Authority(mesh).Readmit("rome"), _ => { });
        paris.Check(signed, SignedReports.Read(signed));

        mesh.Time.Advance(TimeSpan.FromHours(25));
        Assert.EndsWith("[expired]", Refused(paris, signed));
    }

    [Fact]
    public void What_is_malformed_or_over_a_limit_is_refused()
    {
        using var mesh = new Mesh();
        var rome = mesh.Join("rome", "rome-1");
        string Unreadable(Action<GatewayTrust> change)
        {
            var report = Report(7);
            change(report);
            return Assert.Throws<TrustRefusedException>(() => SignedReports.Read(rome.Sign(report, rome.State))).Message;
        }

        Assert.Contains("of no gateway", Unreadable(r => r.Gateway = ""));
        Assert.Contains("of no gateway", Unreadable(r => r.Site = "a/b"));
        Assert.Contains("at most 64 roots", Unreadable(r => r.Roots.Add(Enumerable.Repeat(ByteString.Empty, 65))));
        Assert.Contains("at most 8192 bytes", Unreadable(r => r.Gateway = new string('a', 9000)));
        Assert.Contains("1 to 4 certificates", Assert.Throws<TrustRefusedException>(() => SignedReports.Read(new SignedReport())).Message);
    }

    [Fact]
    public void Fuzz_the_parser_and_the_rules()
    {
        using var mesh = new Mesh();
        var (paris, rome) = (mesh.Join("paris", "paris-1"), mesh.Join("rome", "rome-1"));
        var good = rome.Sign(Report(7), rome.State).ToByteArray();
        var random = new Random(11);
        for (var i = 0; i < 2000; i++)
        {
            var bytes = (byte[])good.Clone();
            for (var edits = random.Next(1, 4); edits > 0; edits--)
            {
                bytes[random.Next(bytes.Length)] ^= (byte)random.Next(1, 256);
            }

            bytes = random.Next(4) == 0 ? bytes[..random.Next(bytes.Length)] : bytes;
            try
            {
                var signed = SignedReport.Parser.ParseFrom(bytes);
                var report = SignedReports.Read(signed);
                paris.Check(signed, report);
                Assert.Equal(Report(7), report);
            }
            catch (Exception e) when (e is InvalidProtocolBufferException or TrustRefusedException)
            {
            }
        }
    }

    private static string Refused(GatewayIdentity gateway, SignedReport signed) =>
        Assert.Throws<TrustRefusedException>(() => gateway.Check(signed, SignedReports.Read(signed))).Message;

    private static GatewayTrust Report(ulong version) => new() { Site = "rome", Gateway = "rome-1", Version = version, Reported = 1000 };
}
