using System.Net;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Microsoft.AspNetCore.Http;

namespace Fabric.Protocol.Tests.Grpc;

/// <summary>Clients and servers that break the protocol, or are something else.</summary>
public sealed class GrpcOddPeersTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);
    private static readonly byte[] Empty = [0, 0, 0, 0, 0];

    [Theory]
    [InlineData(new byte[0], null, GrpcStatus.Unimplemented)]
    [InlineData(new byte[] { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, null, GrpcStatus.Unimplemented)]
    [InlineData(new byte[] { 0, 0, 0 }, null, GrpcStatus.Internal)]
    [InlineData(new byte[] { 0, 0, 0, 0, 9, 1 }, null, GrpcStatus.Internal)]
    [InlineData(new byte[] { 0, 0, 0, 0, 1, 0xff }, null, GrpcStatus.Internal)]
    [InlineData(new byte[] { 1, 0, 0, 0, 0 }, null, GrpcStatus.Unimplemented)]
    [InlineData(new byte[] { 0, 0, 0, 0, 0 }, "5 S", GrpcStatus.Internal)]
    [InlineData(new byte[] { 0, 0, 0, 0, 0 }, "0m", GrpcStatus.DeadlineExceeded)]
    [InlineData(new byte[] { 0, 0, 0, 0, 0 }, "99999999H", GrpcStatus.Ok)]
    [InlineData(new byte[] { 0, 0, 0, 0, 0 }, null, GrpcStatus.Ok)]
    public async Task Request_that_breaks_the_protocol_gets_a_status(byte[] body, string? timeout, GrpcStatus expected)
    {
        await using var host = await GrpcHost.StartAsync(new GrpcServer(TimeProvider.System).Unary(
            AdminMethods.SetFault, (_, _) => Task.FromResult(new SetFaultReply())));
        using var invoker = Dial.Tcp(host.Authority.Port);
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(host.Authority, AdminMethods.SetFault.Path))
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new ByteArrayContent(body),
        };
        request.Content.Headers.ContentType = new("application/grpc");
        if (timeout is not null)
        {
            request.Headers.Add("grpc-timeout", timeout);
        }

        using var response = await invoker.SendAsync(request, default).WaitAsync(Limit);
        await response.Content.ReadAsByteArrayAsync().WaitAsync(Limit);

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        var headers = response.Headers.Contains("grpc-status") ? response.Headers : response.TrailingHeaders;
        Assert.Equal(
            [((int)expected).ToString(System.Globalization.CultureInfo.InvariantCulture)], headers.GetValues("grpc-status"));
    }

    [Fact]
    public async Task Request_refused_while_it_is_still_being_sent_tells_why()
    {
        await using var host = await GrpcHost.StartAsync(new GrpcServer(TimeProvider.System).Unary(
            AdminMethods.SetFault, (_, _) => Task.FromResult(new SetFaultReply())));
        var large = new SetFaultRequest { Link = new string('x', 20_000_000) };

        var failure = await FailureAsync(
            host.ClientOverTcp().UnaryAsync(AdminMethods.SetFault, large, new() { MaxMessageBytes = 1 << 25 }));

        Assert.Equal(GrpcStatus.ResourceExhausted, failure.Status);
    }

    [Theory]
    [InlineData(404, GrpcStatus.Unimplemented)]
    [InlineData(401, GrpcStatus.Unauthenticated)]
    [InlineData(403, GrpcStatus.PermissionDenied)]
    [InlineData(400, GrpcStatus.Internal)]
    [InlineData(503, GrpcStatus.Unavailable)]
    [InlineData(500, GrpcStatus.Unknown)]
    public async Task Answer_of_a_plain_web_server_is_a_failure(int status, GrpcStatus expected)
    {
        var failure = await AskAsync(http =>
        {
            http.Response.StatusCode = status;
            return http.Response.WriteAsync("<html>");
        });

        Assert.Equal(expected, failure.Status);
        Assert.Contains($"{status}", failure.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Page_with_status_200_is_a_failure()
    {
        var failure = await AskAsync(http =>
        {
            http.Response.ContentType = "text/html";
            return http.Response.WriteAsync("<html>");
        });

        Assert.Equal(GrpcStatus.Unknown, failure.Status);
        Assert.Contains("text/html", failure.Detail, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null, GrpcStatus.Unknown)]
    [InlineData("abc", GrpcStatus.Unknown)]
    [InlineData("-1", GrpcStatus.Unknown)]
    [InlineData("77", GrpcStatus.Unknown)]
    [InlineData("9", GrpcStatus.FailedPrecondition)]
    public async Task Odd_status_after_a_good_message_is_a_failure(string? status, GrpcStatus expected)
    {
        var failure = await AskAsync(async http =>
        {
            await http.Response.Body.WriteAsync(Empty);
            if (status is not null)
            {
                http.Response.AppendTrailer("grpc-status", status);
            }
        });

        Assert.Equal(expected, failure.Status);
    }

    [Theory]
    [InlineData(new byte[0])]
    [InlineData(new byte[] { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 })]
    public async Task Unary_answer_without_exactly_one_message_is_a_failure(byte[] body) =>
        Assert.Equal(GrpcStatus.Unimplemented, (await AskAsync(http => AnswerAsync(http, body))).Status);

    [Theory]
    [InlineData(new byte[] { 0, 0, 0, 0, 5, 1 }, GrpcStatus.Internal)]
    [InlineData(new byte[] { 7, 0, 0, 0, 0 }, GrpcStatus.Internal)]
    [InlineData(new byte[] { 0, 127, 0, 0, 0 }, GrpcStatus.ResourceExhausted)]
    public async Task Answer_badly_framed_is_a_failure(byte[] body, GrpcStatus expected) =>
        Assert.Equal(expected, (await AskAsync(http => AnswerAsync(http, body))).Status);

    [Fact]
    public async Task Stream_reset_by_the_server_is_a_failure()
    {
        var failure = await AskAsync(async http =>
        {
            await http.Response.Body.WriteAsync(Empty);
            http.Abort();
        });

        Assert.NotEqual(GrpcStatus.Ok, failure.Status);
    }

    private static async Task AnswerAsync(HttpContext http, byte[] body)
    {
        await http.Response.Body.WriteAsync(body);
        http.Response.AppendTrailer("grpc-status", "0");
    }

    /// <summary>Asks a server that answers anything, and says that it is gRPC unless told otherwise.</summary>
    private static async Task<GrpcException> AskAsync(RequestDelegate answer)
    {
        await using var host = await GrpcHost.StartAsync(http =>
        {
            http.Response.ContentType = "application/grpc";
            return answer(http);
        });
        return await FailureAsync(host.ClientOverTcp().UnaryAsync(AdminMethods.SetFault, new SetFaultRequest()));
    }

    private static Task<GrpcException> FailureAsync<T>(Task<T> call) =>
        Assert.ThrowsAsync<GrpcException>(() => call.WaitAsync(Limit));
}
