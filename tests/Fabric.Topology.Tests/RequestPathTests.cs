using System.Text;

namespace Fabric.Topology.Tests;

public class RequestPathTests
{
    [Theory]
    [InlineData("/", "/")]
    [InlineData("/a/b", "/a/b")]
    [InlineData("/a/", "/a/")]
    [InlineData("/a?b=/../c;d", "/a")]
    [InlineData("/%61dmin", "/admin")]
    [InlineData("/a%2bb", "/a+b")]
    [InlineData("/a+b", "/a+b")]
    [InlineData("/caf%c3%a9", "/caf%C3%A9")]
    [InlineData("/a%20b", "/a%20b")]
    [InlineData("/a%3fb", "/a%3Fb")]
    [InlineData("/a\"b", "/a%22b")]
    [InlineData("/100%25", "/100%25")]
    [InlineData("/.well-known/x", "/.well-known/x")]
    [InlineData("/...", "/...")]
    [InlineData("/Admin", "/Admin")]
    [InlineData("/pkg.Service/Method", "/pkg.Service/Method")]
    public void Has_one_spelling(string target, string path)
    {
        Assert.True(RequestPath.TryRead(Encoding.UTF8.GetBytes(target), out string? read, out string problem), problem);
        Assert.Equal(path, read);
    }

    [Theory]
    [InlineData("", "does not begin with '/'")]
    [InlineData("a", "does not begin with '/'")]
    [InlineData("?a", "does not begin with '/'")]
    [InlineData("http://a/b", "does not begin with '/'")]
    [InlineData("//", "has two slashes in a row")]
    [InlineData("/a//b", "has two slashes in a row")]
    [InlineData("/.", "has a '.' or '..' segment")]
    [InlineData("/a/../b", "has a '.' or '..' segment")]
    [InlineData("/a/..", "has a '.' or '..' segment")]
    [InlineData("/a/%2e%2E/b", "has a '.' or '..' segment")]
    [InlineData("/a/.%2e?x", "has a '.' or '..' segment")]
    [InlineData("/a;x=1/b", "has parameters (';')")]
    [InlineData("/a/..;/b", "has parameters (';')")]
    [InlineData("/a%3Bx", "has parameters (';')")]
    [InlineData("/a%2fb", "has an encoded slash")]
    [InlineData("/a%2Fb", "has an encoded slash")]
    [InlineData("/a\\b", "has a backslash")]
    [InlineData("/a%5cb", "has a backslash")]
    [InlineData("/a%00", "has an encoded control character")]
    [InlineData("/a%0d%0ab", "has an encoded control character")]
    [InlineData("/a%7f", "has an encoded control character")]
    [InlineData("/a%", "has a '%' that two hexadecimal digits do not follow")]
    [InlineData("/a%2", "has a '%' that two hexadecimal digits do not follow")]
    [InlineData("/a%zz", "has a '%' that two hexadecimal digits do not follow")]
    [InlineData("/a%252e", "is encoded twice")]
    [InlineData("/a b", "has the byte 0x20, which must be encoded")]
    [InlineData("/a#b", "has the byte 0x23, which must be encoded")]
    [InlineData("/caf\u00e9", "has the byte 0xC3, which must be encoded")]
    [InlineData("/%c0%af", "is not UTF-8 when it is decoded")]
    [InlineData("/%ff", "is not UTF-8 when it is decoded")]
    public void What_has_more_than_one_reading_is_refused(string target, string problem)
    {
        Assert.False(RequestPath.TryRead(Encoding.UTF8.GetBytes(target), out string? read, out string found));
        Assert.Equal((null, problem), (read, found));
    }

    [Fact]
    public void Is_as_long_as_it_may_be()
    {
        Assert.True(RequestPath.TryRead(Encoding.ASCII.GetBytes("/" + new string('a', RequestPath.MaxBytes - 1)), out _, out _));
        Assert.True(RequestPath.TryRead(Encoding.ASCII.GetBytes("/%61" + new string('a', RequestPath.MaxBytes - 4)), out _, out _));
        Assert.False(RequestPath.TryRead(Encoding.ASCII.GetBytes("/" + new string('a', RequestPath.MaxBytes)), out _, out string problem));
        Assert.Equal("is longer than 8192 bytes", problem);
    }

    /// <summary>
    /// Whatever it is made of: what is read is its own spelling, has no segment that is not there to be seen, and a second encoding of any of its characters
    /// is read as the same.
    /// </summary>
    [Fact]
    public void Whatever_is_read_is_read_again_as_itself_and_however_it_is_encoded()
    {
        string[] pieces =
        [
            "/", "/", "/", "a", "B", ".", "..", "%2e", "%2E", "%2f", "%5c", "\\", ";", "%3b", "?", "#", "%", "%25", "%252f", "%41", "%c3%a9", "%c0%af",
            "%00", "%", "+", "%2b", " ", "*", "~", "%7e", "\u00e9", "@", ":", "\0", "\n", "%e2%82%ac",
        ];
        var random = new Random(20_261_127);
        int read = 0;
        for (int i = 0; i < 200_000; i++)
        {
            string target = "/" + string.Concat(Enumerable.Range(0, random.Next(8)).Select(_ => pieces[random.Next(pieces.Length)]));
            if (!RequestPath.TryRead(Encoding.UTF8.GetBytes(target), out string? path, out _))
            {
                continue;
            }

            read++;
            Assert.True(RequestPath.TryRead(Encoding.ASCII.GetBytes(path), out string? again, out string problem), $"{target}: {path} {problem}");
            Assert.Equal(path, again);
            Assert.Matches(@"^/[!-~]*$", path);
            string[] segments = path[1..].Split('/');
            Assert.DoesNotContain(segments, s => s is "." or "..");
            Assert.DoesNotContain(segments[..^1], s => s.Length == 0);

            int at = random.Next(path.Length);
            if (path[at] is not ('/' or '%') && !(at > 0 && path[at - 1] == '%') && !(at > 1 && path[at - 2] == '%'))
            {
                string encoded = $"{path[..at]}%{(int)path[at]:x2}{path[(at + 1)..]}";
                Assert.True(RequestPath.TryRead(Encoding.ASCII.GetBytes(encoded), out string? same, out problem), $"{encoded} {problem}");
                Assert.Equal(path, same);
            }
        }

        Assert.InRange(read, 5_000, 190_000);
    }

    [Fact]
    public void Any_bytes_are_read_or_refused()
    {
        var random = new Random(20_261_128);
        byte[] bytes = new byte[64];
        for (int i = 0; i < 100_000; i++)
        {
            random.NextBytes(bytes);
            bytes[0] = (byte)'/';
            bool isPath = RequestPath.TryRead(bytes.AsSpan(0, random.Next(bytes.Length)), out string? path, out string problem);
            Assert.Equal(isPath, path is not null);
            Assert.Equal(isPath, problem.Length == 0);
        }
    }
}
