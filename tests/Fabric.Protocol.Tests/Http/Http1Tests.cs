using System.Buffers;
using System.Text;
using Fabric.Protocol.Http;
using Fabric.Testing;

namespace Fabric.Protocol.Tests.Http;

public class Http1Tests
{
    private static Http1Request Read(string head)
    {
        var request = new Http1Request();
        request.Read(Encoding.Latin1.GetBytes(head));
        return request;
    }

    private static string Written(Http1Request request)
    {
        var output = new ArrayBufferWriter<byte>();
        request.Write(output);
        return Encoding.Latin1.GetString(output.WrittenSpan);
    }

    [Theory]
    [InlineData("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n")]
    [InlineData("GET /a?b HTTP/1.1\r\nhost:a:80\r\nX:\t y \t\r\n\r\n", "GET /a?b HTTP/1.1\r\nhost: a:80\r\nX: y\r\n\r\n")]
    [InlineData("GET http://A.example.:80/b HTTP/1.1\r\nHost: a.example\r\n\r\n", "GET /b HTTP/1.1\r\nHost: a.example\r\n\r\n")]
    [InlineData("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n")]
    [InlineData("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")]
    [InlineData("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nConnection: close\r\n\r\n")]
    [InlineData("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-A\r\nX-A: 1\r\nX-B: 2\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX-B: 2\r\nConnection: close\r\n\r\n")]
    [InlineData("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n")]
    [InlineData("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n")]
    [InlineData("GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n")]
    public void Is_written_in_one_way(string read, string written) => Assert.Equal(written, Written(Read(read)));

    [Theory]
    [InlineData("GET / HTTP/1.1\r\nHost: a\r\n\r\n", HttpBody.None, 0)]
    [InlineData("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", HttpBody.None, 0)]
    [InlineData("POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 12\r\n\r\n", HttpBody.Length, 12)]
    [InlineData("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", HttpBody.Chunked, 0)]
    [InlineData("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", HttpBody.Chunked, 0)]
    public void Says_where_its_body_ends(string head, HttpBody body, long length)
    {
        var request = Read(head);
        Assert.Equal((body, length), (request.Body, request.Length));
    }

    [Fact]
    public void Bad_requests_are_refused()
    {
        foreach (var (head, status) in Http1Samples.Refused)
        {
            var refused = Assert.Throws<HttpRefusedException>(() => { Read(head); });
            Assert.True(status == refused.Status, $"{head}: {refused.Status} {refused.Message}");
        }
    }

    [Theory]
    [InlineData("0", 0)]
    [InlineData("000a", 10)]
    [InlineData("Ff", 255)]
    [InlineData("5;a=b;c", 5)]
    [InlineData("5 ;a=\"b\"", 5)]
    public void Sizes_of_chunks(string line, long size)
    {
        Assert.True(HttpSyntax.TryReadChunkSize(Encoding.ASCII.GetBytes(line), out var read));
        Assert.Equal(size, read);
    }

    [Theory]
    [InlineData("")]
    [InlineData(" 5")]
    [InlineData("5 ")]
    [InlineData("\t5;a")]
    [InlineData("+5")]
    [InlineData("-1")]
    [InlineData("0x5")]
    [InlineData("5g")]
    [InlineData("5_0")]
    [InlineData(";a")]
    [InlineData("5;a\rb")]
    [InlineData("5;a\0")]
    [InlineData("ffffffffffffffff")]
    public void What_is_no_size_of_a_chunk(string line) => Assert.False(HttpSyntax.TryReadChunkSize(Encoding.ASCII.GetBytes(line), out _));

    [Theory]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "GET", HttpBody.Length, false)]
    [InlineData("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "GET", HttpBody.None, false)]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", HttpBody.None, false)]
    [InlineData("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", HttpBody.None, false)]
    [InlineData("HTTP/1.1 204 No Content\r\n\r\n", "GET", HttpBody.None, false)]
    [InlineData("HTTP/1.1 100 Continue\r\n\r\n", "GET", HttpBody.None, false)]
    [InlineData("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", HttpBody.Chunked, false)]
    [InlineData("HTTP/1.1 200 OK\r\n\r\n", "GET", HttpBody.UntilClose, true)]
    [InlineData("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "GET", HttpBody.Length, true)]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", "GET", HttpBody.Length, true)]
    public void Answers_say_where_they_end(string head, string method, HttpBody body, bool closes)
    {
        var response = new Http1Response();
        response.Read(Encoding.Latin1.GetBytes(head), method, upgrades: false);
        Assert.Equal((body, closes), (response.Body, response.Closes));
    }

    [Theory]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\nX: a\r\n\r\n")]
    [InlineData("HTTP/2 200 OK\r\n\r\n")]
    [InlineData("HTTP/1.1 99 OK\r\n\r\n")]
    [InlineData("HTTP/1.1 2000 OK\r\n\r\n")]
    [InlineData("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")]
    public void Answers_that_have_two_ends_are_refused(string head) => Assert.Equal(502, Assert.Throws<HttpRefusedException>(
        () => new Http1Response().Read(Encoding.Latin1.GetBytes(head), "GET", upgrades: false)).Status);

    /// <summary>Whatever is read and written is read again as the same, and framed alike.</summary>
    [Fact]
    public void Whatever_is_written_is_read_as_what_it_was()
    {
        var random = new Random(20_261_127);
        var corpus = Http1Samples.Refused.Select(r => r.Head).Concat(
        [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nConnection: close, x\r\nX: y\r\n\r\n",
            "PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
        ]).ToArray();
        string[] tokens = ["\r\n", "\n", "\r", " ", "\t", ":", "Host: a\r\n", "Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n", "chunked", ",", "\0", "0", "Connection: "];
        var read = 0;
        for (var i = 0; i < 100_000; i++)
        {
            var head = new StringBuilder(corpus[random.Next(corpus.Length)]);
            for (var edits = random.Next(4); edits > 0; edits--)
            {
                var at = random.Next(head.Length);
                _ = random.Next(3) switch
                {
                    0 => head.Insert(at, tokens[random.Next(tokens.Length)]),
                    1 => head.Remove(at, Math.Min(random.Next(1, 4), head.Length - at - 1)),
                    _ => head.Replace(head[at], (char)random.Next(256), at, 1),
                };
            }

            var bytes = Encoding.Latin1.GetBytes(head.ToString());
            if (Http1Fields.End(bytes, 0) is var end && end < 0)
            {
                continue;
            }

            try
            {
                var request = Read(Encoding.Latin1.GetString(bytes.AsSpan(0, end)));
                var again = Read(Written(request));
                read++;
                Assert.Equal((request.Method, request.Body, request.Length, request.Closes, request.IsWebSocket),
                    (again.Method, again.Body, again.Length, again.Closes, again.IsWebSocket));
                Assert.True(request.Target.SequenceEqual(again.Target));
                Assert.Equal(Written(request), Written(again));
            }
            catch (HttpRefusedException)
            {
                // As it may.
            }
        }

        Assert.InRange(read, 2_000, 99_000);
    }
}
