using Fabric.Testing;
using Fabric.Tunnel.Linux;

namespace Fabric.Tunnel.Tests.Linux;

/// <summary>Runs alone: it counts the sessions and the descriptors of the process.</summary>
[Collection(nameof(LeakFreeTests))]
public sealed class TlsLeakTests
{
    [RequiresFact("libssl")]
    public async Task Connections_that_end_in_every_way_leave_nothing()
    {
        using var authority = new TestAuthority();
        using var other = new TestAuthority("other.example");
        using var alpha = authority.Gateway("alpha");
        using var beta = authority.Gateway("beta");
        using var stranger = other.Gateway("stranger");
        var options = new TlsOptions { Time = TimeProvider.System };
        using var client = new TlsContext(alpha, options);
        using var bad = new TlsContext(stranger, options);
        using var server = new TlsContext(beta, options);
        // A gateway of a test before may still close what was in the middle of a handshake.
        await LeakFreeTests.TlsIsFreeAsync();
        await OnceAsync(0);
        var descriptors = LeakFreeTests.Descriptors;
        for (var i = 0; i < 200; i++)
        {
            await OnceAsync(i % 5);
        }

        Assert.Equal((0, 0L), (TlsSession.Live, TlsBuffer.AllBytes));
        await Wait.UntilAsync(() => LeakFreeTests.Descriptors <= descriptors, () => $"{LeakFreeTests.Descriptors} descriptors; {descriptors} before");

        async Task OnceAsync(int way)
        {
            var (near, far) = await TlsEnd.ConnectAsync();
            using var one = new TlsEnd(TlsSession.Client(way == 1 ? bad : client, TlsEnd.Over(near), "fabric/1", null), near);
            using var two = new TlsEnd(TlsSession.Server(server, TlsEnd.Over(far), ["fabric/1"]), far);
            if (way == 2)
            {
                // Gone after the first message.
                one.Session.Handshake();
                one.Session.Flush();
                two.Session.Handshake();
                return;
            }

            var shaken = await Task.WhenAll(one.HandshakeAsync(), two.HandshakeAsync());
            Assert.Equal(way == 1 ? [TlsStatus.Failed, TlsStatus.Failed] : [TlsStatus.Done, TlsStatus.Done], shaken);
            if (way != 1)
            {
                // Bytes that wait are given up with it.
                var data = new byte[100_000];
                one.Session.Write(data, out _);
                if (way == 3)
                {
                    await one.FlushAsync();
                    await one.CloseAsync();
                    await two.ReadExactlyAsync(data);
                }
            }
        }
    }

    [RequiresFact("libssl")]
    public void Memory_stays_where_it_is()
    {
        using var authority = new TestAuthority();
        using var alpha = authority.Gateway("alpha");
        using var beta = authority.Gateway("beta");
        var options = new TlsOptions { Time = TimeProvider.System };
        using var client = new TlsContext(alpha, options);
        using var server = new TlsContext(beta, options);
        Shake(300);
        var before = Environment.WorkingSet;
        Shake(600);
        Assert.InRange(Environment.WorkingSet - before, long.MinValue, 16 << 20);

        void Shake(int times)
        {
            for (var i = 0; i < times; i++)
            {
                using var pair = new TlsMemoryPair(client, server);
                Assert.Equal((TlsStatus.Done, TlsStatus.Done), pair.Shake());
            }

            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
    }
}
