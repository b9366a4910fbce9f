using System.Text;
using Fabric.Protocol.Dns;

namespace Fabric.Protocol.Tests.Dns;

public class DnsQueryTests
{
    private static readonly DnsRecord Opt = new(DnsName.Root, (DnsClass)4096, 0, new DnsOpt([]));

    private static readonly DnsMessage Plain = new()
    {
        Id = 7,
        Questions = [new DnsQuestion(DnsName.Parse("WeB.shop"), DnsType.Srv, DnsClass.Internet)],
    };

    [Fact]
    public void A_plain_query_shows_its_question_as_received()
    {
        var query = DnsQuery.Read(DnsMessageTests.Bytes(Plain));
        Assert.Equal(DnsVerdict.Answer, query.Verdict);
        Assert.Equal("\x3WeB\x4shop\0"u8, query.Name);
        Assert.Equal((DnsType.Srv, DnsClass.Internet, false, 512), (query.Type, query.Class, query.HasOpt, query.UdpSize));
        Assert.Equal("\x3WeB\x4shop\0\0\x21\0\x1"u8, query.Question);
    }

    [Theory]
    [InlineData(0, 512)]
    [InlineData(511, 512)]
    [InlineData(1232, 1232)]
    [InlineData(65535, 65535)]
    public void Edns_tells_size_and_DO(int offered, int size)
    {
        var query = DnsQuery.Read(DnsMessageTests.Bytes(
            Plain with { Additionals = [Opt with { Class = (DnsClass)offered, Ttl = 0x8000 }] }));
        Assert.Equal((DnsVerdict.Answer, true, true, size), (query.Verdict, query.HasOpt, query.DnssecOk, query.UdpSize));
    }

    public static TheoryData<string, DnsVerdict, bool> Verdicts()
    {
        var data = new TheoryData<string, DnsVerdict, bool>();
        void Add(DnsMessage m, DnsVerdict verdict, bool hasOpt = false, string tail = "") =>
            data.Add(Convert.ToHexString(DnsMessageTests.Bytes(m)) + tail, verdict, hasOpt);

        Add(Plain with { Flags = DnsFlags.Response }, DnsVerdict.Drop);
        Add(Plain with { Opcode = DnsOpcode.Update }, DnsVerdict.NotImp);
        Add(Plain with { Opcode = (DnsOpcode)15, Additionals = [Opt] }, DnsVerdict.NotImp, hasOpt: true);
        Add(new DnsMessage { Opcode = DnsOpcode.Status }, DnsVerdict.NotImp);
        Add(new DnsMessage(), DnsVerdict.FormErr);
        Add(Plain with { Questions = [Plain.Questions[0], Plain.Questions[0]] }, DnsVerdict.FormErr);
        Add(Plain, DnsVerdict.FormErr, tail: "00");
        Add(Plain with { Additionals = [Opt, Opt] }, DnsVerdict.Answer, hasOpt: true); // Write keeps one OPT
        Add(Plain with { Additionals = [Opt with { Name = DnsName.Parse("a") }] }, DnsVerdict.FormErr, hasOpt: true);
        Add(Plain with { Answers = [Opt] }, DnsVerdict.FormErr, hasOpt: true);
        Add(Plain with { Additionals = [Opt with { Ttl = 0x00010000 }] }, DnsVerdict.BadVers, hasOpt: true);
        Add(Plain with { Additionals = [Opt with { Ttl = 0x0000FFFF }] }, DnsVerdict.Answer, hasOpt: true);
        var unknown = new DnsOpt([new DnsOption(100, [1, 2])]);
        Add(Plain with { Additionals = [Opt with { Data = unknown }] }, DnsVerdict.Answer, hasOpt: true);
        var cutOff = new DnsOpaque(DnsType.Opt, [0, 3, 0, 9]);
        Add(Plain with { Additionals = [Opt with { Data = cutOff }] }, DnsVerdict.FormErr, hasOpt: true);
        Add(Plain with { Questions = [Plain.Questions[0] with { Type = DnsType.Opt }] }, DnsVerdict.FormErr);
        DnsRecord WithCookie(int length) => Opt with { Data = new DnsOpt([new DnsOption(10, [.. new byte[length]])]) };
        Add(Plain with { Additionals = [WithCookie(8)] }, DnsVerdict.Answer, hasOpt: true);
        Add(Plain with { Additionals = [WithCookie(24)] }, DnsVerdict.Answer, hasOpt: true);
        Add(Plain with { Additionals = [WithCookie(40)] }, DnsVerdict.Answer, hasOpt: true);
        foreach (var length in new[] { 0, 7, 9, 15, 41 })
        {
            Add(Plain with { Additionals = [WithCookie(length)] }, DnsVerdict.FormErr, hasOpt: true);
        }

        Add(new DnsMessage { Additionals = [WithCookie(8)] }, DnsVerdict.CookieOnly, hasOpt: true);
        Add(new DnsMessage { Additionals = [Opt] }, DnsVerdict.FormErr, hasOpt: true);
        data.Add("0001", DnsVerdict.Drop, false);
        data.Add("", DnsVerdict.Drop, false);
        return data;
    }

    [Theory]
    [MemberData(nameof(Verdicts))]
    public void The_form_decides(string hex, DnsVerdict verdict, bool hasOpt)
    {
        var query = DnsQuery.Read(Convert.FromHexString(hex));
        Assert.Equal((verdict, hasOpt), (query.Verdict, query.HasOpt));
    }

    [Fact]
    public void Two_OPT_records_are_malformed()
    {
        byte[] two = [.. DnsMessageTests.Bytes(Plain with { Additionals = [Opt] }), 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
        two[11] = 2;
        var query = DnsQuery.Read(two);
        Assert.Equal((DnsVerdict.FormErr, true), (query.Verdict, query.HasOpt));
    }

    [Fact]
    public void A_question_that_points_is_malformed()
    {
        var bytes = Encoding.Latin1.GetBytes("\0\x1\0\0\0\x1\0\0\0\0\0\0\x1\x61\xC0\x4\0\x1\0\x1");
        var query = DnsQuery.Read(bytes);
        Assert.Equal(DnsVerdict.FormErr, query.Verdict);
        Assert.True(query.Question.IsEmpty);
    }

    [Fact]
    public void Reading_allocates_nothing()
    {
        var bytes = DnsMessageTests.Bytes(Plain with { Additionals = [Opt] });
        DnsQuery.Read(bytes);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
        {
            DnsQuery.Read(bytes);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }
}
