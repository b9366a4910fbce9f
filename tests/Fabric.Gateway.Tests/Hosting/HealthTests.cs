using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Hosting;
using Fabric.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using static Fabric.Gateway.Tests.Hosting.LoopbackFabric;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>Health of one whole gateway: each answer is made false in the way that it is there for.</summary>
public sealed class HealthTests : IAsyncDisposable
{
    private readonly LoopbackFabric _fabric = LoopbackFabric.Joined();
    private readonly HttpClient _http = new(new SocketsHttpHandler { UseProxy = false });
    private GatewayProcess? _gateway;

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        if (_gateway is not null)
        {
            await _gateway.DisposeAsync().AsTask().WaitAsync(Wait.Limit);
        }

        await _fabric.DisposeAsync();
    }

    private async Task StartAsync(DaemonOptions options, TimeProvider? time = null) =>
        _gateway = await GatewayProcess.StartAsync(options, time ?? TimeProvider.System, NullLoggerFactory.Instance, default);

    /// <summary>Null when nobody listens there.</summary>
    private async Task<(HttpStatusCode Status, string Text)?> AskAsync(string path)
    {
        try
        {
            using var answer = await _http.GetAsync($"http://{_fabric.MetricsOf(Paris)}/{path}");
            return (answer.StatusCode, await answer.Content.ReadAsStringAsync());
        }
        catch (HttpRequestException e) when (e.InnerException is SocketException)
        {
            return null;
        }
    }

    private async Task UntilAsync(string path, Func<(HttpStatusCode Status, string Text)?, bool> holds)
    {
        (HttpStatusCode, string)? last = null;
        for (var limit = DateTime.UtcNow + Wait.Limit; !holds(last = await AskAsync(path)); await Task.Delay(50))
        {
            Assert.True(DateTime.UtcNow < limit, $"{path} still answers {last}");
        }
    }

    [Fact]
    public async Task A_state_loop_that_stands_still_is_not_live_and_not_ready()
    {
        using var stall = new ManualResetEventSlim(true);
        await StartAsync(_fabric.Options(Paris) with { Turned = stall.Wait });
        await UntilAsync("livez", a => a == (HttpStatusCode.OK, "ok\n"));
        await UntilAsync("readyz", a => a == (HttpStatusCode.OK, "ok\n"));
        Assert.Equal((HttpStatusCode.OK, "ok\n"), await AskAsync("startedz"));

        stall.Reset();
        await UntilAsync("livez", a => a is { Status: HttpStatusCode.ServiceUnavailable } && a.Value.Text.StartsWith("the state loop has stood still for ", StringComparison.Ordinal));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await AskAsync("readyz"))!.Value.Status);
        Assert.Equal(HttpStatusCode.OK, (await AskAsync("startedz"))!.Value.Status);

        stall.Set();
        await UntilAsync("livez", a => a is { Status: HttpStatusCode.OK });
    }

    [Fact]
    public async Task A_gateway_that_drains_is_live_and_not_ready()
    {
        await StartAsync(_fabric.Options(Paris));
        await UntilAsync("readyz", a => a is { Status: HttpStatusCode.OK });

        await _gateway!.DrainAsync(TimeSpan.Zero, default);

        Assert.Equal((HttpStatusCode.ServiceUnavailable, "the gateway is draining\n"), await AskAsync("readyz"));
        Assert.Equal((HttpStatusCode.OK, "ok\n"), await AskAsync("livez"));
    }

    [Fact]
    public async Task A_gateway_whose_certificate_ended_is_not_ready()
    {
        var time = new Shifted();
        await StartAsync(_fabric.Options(Paris) with { Ca = null }, time);
        await UntilAsync("readyz", a => a is { Status: HttpStatusCode.OK });

        time.Shift = TimeSpan.FromDays(3650);
        await UntilAsync("readyz", a => a is { Status: HttpStatusCode.ServiceUnavailable } && a.Value.Text.Contains("the certificate ended at ", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_gateway_that_cannot_listen_is_not_ready_until_it_can()
    {
        using (var taken = new TcpListener(_fabric.PortOf(Paris)))
        {
            taken.Start();
            await StartAsync(_fabric.Options(Paris));
            await UntilAsync("readyz", a => a is { Status: HttpStatusCode.ServiceUnavailable } && a.Value.Text.Contains($"does not listen on {_fabric.PortOf(Paris)}", StringComparison.Ordinal));
            Assert.Equal(HttpStatusCode.OK, (await AskAsync("livez"))!.Value.Status);
        }

        await UntilAsync("readyz", a => a is { Status: HttpStatusCode.OK });
    }

    [Fact]
    public async Task Nobody_answers_before_the_first_topology_is_applied()
    {
        using var hold = new ManualResetEventSlim(false);
        var starting = Task.Run(() => StartAsync(_fabric.Options(Paris) with { Turning = hold.Wait }));
        await Task.Delay(300);
        Assert.Null(await AskAsync("startedz"));
        Assert.False(starting.IsCompleted);

        hold.Set();
        await starting.WaitAsync(Wait.Limit);
        Assert.Equal((HttpStatusCode.OK, "ok\n"), await AskAsync("startedz"));
    }

    /// <summary>The calendar moves, and the timers do not.</summary>
    private sealed class Shifted : TimeProvider
    {
        public TimeSpan Shift { get; set; }

        public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + Shift;
    }
}
