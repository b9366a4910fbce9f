using System.Collections.Immutable;
using System.Net;
using System.Text;
using Fabric.Protocol.Dns;

namespace Fabric.Protocol.Tests.Dns;

public class DnsMessageTests
{
    internal static readonly DnsName Web = DnsName.Parse("web.shop.svc.clusterset.local");
    internal static readonly DnsName Zone = DnsName.Parse("clusterset.local");

    internal static DnsMessage Sample() => new()
    {
        Id = 0xBEEF,
        Flags = DnsFlags.Response | DnsFlags.Authoritative | DnsFlags.RecursionDesired,
        Rcode = DnsRcode.BadVers,
        Questions = [new DnsQuestion(Web, DnsType.A, DnsClass.Internet)],
        Answers =
        [
            Record(Web, new DnsAddress(IPAddress.Parse("127.64.3.9"))),
            Record(Web, new DnsAddress(IPAddress.Parse("fd00::7"))),
            Record(Web.Prepend("_tcp").Prepend("_http"), new DnsSrv(1, 2, 8080, Web)),
            Record(Zone.Prepend("dns-version"), new DnsTxt(["1.0.0", "", "ÿ"])),
        ],
        Authorities =
        [
            Record(Zone, new DnsSoa(Zone.Prepend("ns"), Zone.Prepend("hostmaster"), 7, 1, 2, 3, uint.MaxValue)),
            Record(Zone, new DnsTarget(DnsType.Ns, Zone.Prepend("ns"))),
            Record(DnsName.Parse("9.3.64.127.in-addr.arpa"), new DnsTarget(DnsType.Ptr, Web)),
        ],
        Additionals =
        [
            Record(Web, new DnsOpaque((DnsType)65280, [1, 2, 3])),
            new DnsRecord(DnsName.Root, (DnsClass)1232, 0x01008000, new DnsOpt([new DnsOption(3, [7])])),
        ],
    };

    private static DnsRecord Record(DnsName name, DnsData data) => new(name, DnsClass.Internet, 5, data);

    [Fact]
    public void A_query_and_its_answer_have_the_bytes_of_the_standard()
    {
        var name = "\x3web\x4shop\x3svc\u000Aclusterset\x5local\0";
        var query = new DnsMessage
        {
            Id = 0x1234,
            Flags = DnsFlags.RecursionDesired,
            Questions = [new DnsQuestion(Web, DnsType.A, DnsClass.Internet)],
        };
        Assert.Equal(Hex("\x12\x34\x01\0\0\x1\0\0\0\0\0\0" + name + "\0\x1\0\x1"), Hex(query));

        var answer = query with
        {
            Flags = DnsFlags.Response | DnsFlags.Authoritative | DnsFlags.RecursionDesired,
            Answers = [Record(Web, new DnsAddress(IPAddress.Parse("127.64.3.9")))],
            Authorities = [Record(Zone, new DnsTarget(DnsType.Ns, Zone.Prepend("ns")))],
            Additionals = [new DnsRecord(DnsName.Root, (DnsClass)1232, 0x8000, new DnsOpt([]))],
        };
        Assert.Equal(
            Hex("\x12\x34\x85\0\0\x1\0\x1\0\x1\0\x1" + name + "\0\x1\0\x1"
                + "\xC0\xC\0\x1\0\x1\0\0\0\x5\0\x4\x7F\x40\x3\x9"
                + "\xC0\x19\0\x2\0\x1\0\0\0\x5\0\x5\x2ns\xC0\x19"
                + "\0\0\x29\x4\xD0\0\0\x80\0\0\0"),
            Hex(answer));
    }

    [Fact]
    public void Every_record_survives_writing_and_reading()
    {
        var sent = Sample();
        Assert.True(DnsMessage.TryRead(Bytes(sent), out var read));
        AssertSame(sent, read);
    }

    [Fact]
    public void A_name_that_stands_already_costs_two_bytes_except_in_srv()
    {
        var empty = Sample() with { Answers = [], Authorities = [], Additionals = [] };
        var one = Bytes(empty).Length;
        var cname = Bytes(empty with { Answers = [Record(Web, new DnsTarget(DnsType.Cname, Web))] });
        Assert.Equal(one + 12 + 2, cname.Length);
        var srv = Bytes(empty with { Answers = [Record(Web, new DnsSrv(0, 0, 1, Web))] });
        Assert.Equal(one + 12 + 6 + Web.Wire.Length, srv.Length);
    }

    [Fact]
    public void Compression_ignores_case_and_reads_back_as_first_written()
    {
        var upper = DnsName.Parse("WEB.SHOP.SVC.CLUSTERSET.LOCAL");
        var message = Sample() with { Answers = [Record(upper, new DnsTarget(DnsType.Cname, Zone))] };
        Assert.True(DnsMessage.TryRead(Bytes(message), out var read));
        Assert.Equal(Web.ToString(), read.Answers[0].Name.ToString());
    }

    [Fact]
    public void What_does_not_fit_is_left_out_whole_and_TC_tells_if_it_was_an_answer()
    {
        var message = Sample();
        var full = Bytes(message).Length;
        var buffer = new byte[full];
        for (var limit = 80; limit < full; limit++)
        {
            var length = message.Write(buffer.AsSpan(0, limit));
            Assert.True(length <= limit);
            Assert.True(DnsMessage.TryRead(buffer.AsSpan(0, length), out var read), $"limit {limit}");
            Assert.NotNull(read.Opt);
            var missing = read.Answers.Length < message.Answers.Length || read.Authorities.Length < message.Authorities.Length;
            Assert.Equal(missing, (read.Flags & DnsFlags.Truncated) != 0);
        }

        Assert.Throws<ArgumentException>(() => message.Write(new byte[50]));
    }

    [Fact]
    public void Many_records_write_and_read()
    {
        var records = Enumerable.Range(0, 2000)
            .Select(i => Record(DnsName.Parse($"a{i}.b{i % 7}.local"), new DnsAddress(IPAddress.Loopback)))
            .ToImmutableArray();
        Assert.True(DnsMessage.TryRead(Bytes(new DnsMessage { Answers = records }), out var read));
        Assert.Equal(records.Select(r => r.Name), read.Answers.Select(r => r.Name));
    }

    [Theory]
    [InlineData("\xC0\xC")]                 // to itself
    [InlineData("\xC0\x20")]                // forward
    [InlineData("\xC0\u000E\0")]           // forward, to a name
    [InlineData("\xC0\x00")]                // into the header
    [InlineData("\x1\x61\xC0\xC")]          // to its own beginning: a loop
    [InlineData("\xC0")]                    // cut off
    [InlineData("\x40\x61\0")]              // reserved label type
    [InlineData("\x5\x61\0")]               // label beyond the end
    public void A_name_that_does_not_lead_back_and_end_is_refused(string name)
    {
        var bytes = Encoding.Latin1.GetBytes("\0\0\0\0\0\x1\0\0\0\0\0\0" + name + "\0\x1\0\x1");
        var reader = new DnsReader(name == "\xC0" ? bytes.AsSpan(0, 13) : bytes, DnsLimits.Header);
        Assert.False(reader.TryReadName(new byte[255], out _));
    }

    [Fact]
    public void Hops_and_expanded_length_are_bounded()
    {
        // A chain of pointers, each to the one before, behind a root label.
        var chain = new byte[12 + 1 + 2 * 200];
        for (var i = 0; i < 200; i++)
        {
            var target = i == 0 ? 12 : 13 + 2 * (i - 1);
            (chain[13 + 2 * i], chain[14 + 2 * i]) = ((byte)(0xC0 | target >> 8), (byte)target);
        }

        Assert.True(new DnsReader(chain, 13 + 2 * 126).TryReadName(new byte[255], out var length));
        Assert.Equal(1, length);
        Assert.False(new DnsReader(chain, 13 + 2 * 127).TryReadName(new byte[255], out _));

        // 4 labels of 63 and the root: 257 bytes, by way of a pointer.
        byte[] label = [63, .. Enumerable.Repeat((byte)'a', 63)];
        byte[] message = [.. new byte[12], .. label, .. label, .. label, 0, .. label, 0xC0, 12];
        Assert.False(new DnsReader(message, 12 + 193).TryReadName(new byte[255], out _));
        Assert.True(new DnsReader(message, 12).TryReadName(new byte[255], out length));
        Assert.Equal(193, length);
    }

    [Theory]
    [InlineData(DnsType.A, "\x1\x2\x3")]
    [InlineData(DnsType.Aaaa, "\x1\x2\x3\x4")]
    [InlineData(DnsType.Srv, "\0\0\0\0\0\x1")]
    [InlineData(DnsType.Ns, "\0\0")]
    [InlineData(DnsType.Txt, "")]
    [InlineData(DnsType.Txt, "\x5\x61")]
    [InlineData(DnsType.Soa, "\0\0\0\0\0\0")]
    [InlineData(DnsType.Opt, "\0\x3\0\x4\x1")]
    public void Data_without_its_types_form_is_refused(DnsType type, string data)
    {
        byte[] bytes = [.. Encoding.Latin1.GetBytes(data), 0, 0, 0, 0];
        Assert.False(DnsData.TryRead(bytes, new DnsRecordHead(type, DnsClass.Internet, 0, 0, data.Length), out _));
    }

    internal static byte[] Bytes(DnsMessage message)
    {
        var buffer = new byte[DnsLimits.Tcp];
        return buffer[..message.Write(buffer)];
    }

    internal static void AssertSame(DnsMessage expected, DnsMessage actual) => Assert.Equal(Describe(expected), Describe(actual));

    /// <summary>The same but for the order of records and the case of names, which compression may change.</summary>
    internal static void AssertEquivalent(DnsMessage expected, DnsMessage actual) =>
        Assert.Equal(
            Describe(expected).Split('\n').Order(StringComparer.OrdinalIgnoreCase),
            Describe(actual).Split('\n').Order(StringComparer.OrdinalIgnoreCase), StringComparer.OrdinalIgnoreCase);

    private static string Describe(DnsMessage m) => string.Join(
        '\n',
        m.Questions.Select(q => $"{q}")
            .Prepend($"{m.Id} {m.Flags} {m.Opcode} {m.Rcode}")
            .Concat(m.Answers.Append(null).Concat(m.Authorities).Append(null).Concat(m.Additionals).Select(Describe)));

    private static string Describe(DnsRecord? r) => r is null ? "--" : $"{r.Name} {r.Class} {r.Ttl} " + r.Data switch
    {
        DnsTxt txt => "TXT " + string.Join('|', txt.Strings),
        DnsOpaque opaque => $"{opaque.Kind} " + Convert.ToHexString(opaque.Bytes.AsSpan()),
        DnsOpt opt => "OPT " + string.Join('|', opt.Options.Select(o => $"{o.Code}={Convert.ToHexString(o.Data.AsSpan())}")),
        var data => $"{data}",
    };

    private static string Hex(DnsMessage message) => Convert.ToHexString(Bytes(message));

    private static string Hex(string latin1) => Convert.ToHexString(Encoding.Latin1.GetBytes(latin1));
}
