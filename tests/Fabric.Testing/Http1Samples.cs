namespace Fabric.Testing;

/// <summary>Heads that servers and proxies were found to read in different ways, and what they are answered with.</summary>
public static class Http1Samples
{
    public static IReadOnlyList<(string Head, int Status)> Refused { get; } =
    [
        // Two ends of one body.
        Post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        Post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        Post("Content-Length: 5\r\nContent-Length: 5\r\n"),
        Post("Content-Length: 5\r\nContent-Length: 6\r\n"),
        Post("Content-Length: 5, 5\r\n"),
        Post("Content-Length: +5\r\n"),
        Post("Content-Length: -5\r\n"),
        Post("Content-Length: 0x5\r\n"),
        Post("Content-Length: 5 5\r\n"),
        Post("Content-Length:\r\n"),
        Post("Content-Length: 99999999999999999999\r\n"),
        Post("Content_Length: 5\r\n"),

        // A coding that one side may not see.
        Post("Transfer-Encoding: xchunked\r\n"),
        Post("Transfer-Encoding: chunked, identity\r\n"),
        Post("Transfer-Encoding: identity\r\n"),
        Post("Transfer-Encoding: gzip, chunked\r\n"),
        Post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        Post("Transfer-Encoding: \vchunked\r\n"),
        Post("Transfer-Encoding: chunked;q=1\r\n"),
        Post("Transfer-Encoding:\r\n chunked\r\n"),
        Post("Transfer_Encoding: chunked\r\n"),
        Post("Transfer-Encoding : chunked\r\n"),
        Post(" Transfer-Encoding: chunked\r\n"),
        Post("\tTransfer-Encoding: chunked\r\n"),
        Post("X: a\r\n Transfer-Encoding: chunked\r\n"),
        Post("X: a\rTransfer-Encoding: chunked\r\n"),
        Post("X: a\nTransfer-Encoding: chunked\r\n"),
        Post("X: a\0\r\n"),
        Post("Transfer-Encoding\0: chunked\r\n"),
        Post("Connection: Content-Length\r\nContent-Length: 5\r\n"),
        Post("Connection: close, transfer-encoding\r\nTransfer-Encoding: chunked\r\n"),
        Post("Connection: host\r\n"),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),

        // Lines.
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
        Get("X y: a\r\n"),
        Get(": a\r\n"),
        Get("X\r\n"),
        Get("X(: a\r\n"),

        // Whose request it is.
        Get("Host: a\r\n"),
        Get("Host: b\r\n"),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n", 400),
        ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),

        // The first line.
        ("get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GeT / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\u00e9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\n", 505),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
        ("\r\n\r\n", 400),
    ];

    private static (string, int) Post(string fields) => ($"POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n", 400);

    private static (string, int) Get(string fields) => ($"GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n", 400);
}
