using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using Fabric.Gateway.Dns;
using Fabric.Protocol.Dns;

namespace Fabric.Benchmarks;

/// <summary>
/// What a zone of 100,000 services costs. The goals: 100 MB, 200 ms to build, 5 ms for one change, no allocation per query.
/// <c>dotnet run -c Release --project tests/Fabric.Benchmarks -- dns</c>; <c>dns-serve NAMES PORT THREADS</c> serves such a zone.
/// </summary>
internal static class DnsZones
{
    private const int Services = 100_000;
    private const int Rounds = 7;
    private const string Domain = "svc.clusterset.local";

    public static void Measure()
    {
        Print("memory", Memory(Service), "MB", 100);

        // As much as one port can make of answers: SRV, HTTPS, and SVCB at two names.
        Print("memory, alpn", Memory(i => Service(i) with { Ports = [new("grpc", 8443, true) { Alpn = _alpn }] }), "MB", 100);
        var services = Make(Services);
        var options = Options;
        var zone = DnsZone.Build(Domain, services, 1, options);
        Print("build", Median(() => zone = DnsZone.Build(Domain, services, 1, options)), "ms", 200);

        var serial = 1u;
        var random = new Random(1);
        DnsService Flip()
        {
            var i = random.Next(Services);
            return services[i] = services[i] with { Ready = !services[i].Ready };
        }

        Print("one change", Median(() => zone = zone.With([Flip()], [], ++serial)), "ms", 5);
        Print("a new service", Median(() => zone = zone.With(
            [Service(Services + (int)serial) with { ServiceAddress = new IPAddress([10, 9, (byte)serial, 1]) }], [], ++serial)), "ms", 5);

        var queries = Enumerable.Range(0, 1024).Select(i => Query($"s{random.Next(Services)}.ns{i % 50}.{Domain}")).ToArray();
        var response = new byte[DnsResponder.UdpBuffer];
        var allocated = GC.GetAllocatedBytesForCurrentThread();
        var ms = Median(() =>
        {
            for (var i = 0; i < 1_000_000; i++)
            {
                DnsResponder.Respond(zone, queries[i & 1023], response, new DnsAsker(DnsTransport.Udp), out _);
            }
        });
        Print("one query", ms, "ns", 1000);
        Print("bytes per query", (GC.GetAllocatedBytesForCurrentThread() - allocated) / (1e6 * Rounds), "B", 0.01);
    }

    /// <summary>Until the process is ended.</summary>
    public static async Task ServeAsync(int names, int port, int threads)
    {
        var zone = DnsZone.Build(Domain, Make(names), 1, Options);
        await using var server = new DnsServer(
            new DnsServerOptions { Listen = [new IPEndPoint(IPAddress.Loopback, port)], UdpThreads = threads }, () => zone, TimeProvider.System);
        server.Start();
        Console.WriteLine($"{names} services at {server.EndPoints[0]}");
        await Task.Delay(Timeout.Infinite);
    }

    private static DnsZoneOptions Options => new()
    {
        ReverseRanges = [IPNetwork.Parse("10.0.0.0/8")],
        ServerAddresses = [IPAddress.Loopback],
    };

    private static readonly ImmutableArray<string> _alpn = ["h2"];

    private static DnsService[] Make(int count) => [.. Enumerable.Range(0, count).Select(Service)];

    /// <summary>MB of a zone. What was declared is held as well, by who declares it.</summary>
    private static double Memory(Func<int, DnsService> service)
    {
        var before = Held();
        var services = Enumerable.Range(0, Services).Select(service).ToArray();
        var zone = DnsZone.Build(Domain, services, 1, Options);
        var held = Held() - before;
        GC.KeepAlive(services);
        GC.KeepAlive(zone);
        return held / 1e6;
    }

    private static DnsService Service(int i) => new(
        $"s{i}", $"ns{i % 50}", new IPAddress([10, (byte)(i >> 16), (byte)(i >> 8), (byte)i]), [new("http", 80, true)], true);

    private static byte[] Query(string name)
    {
        var buffer = new byte[512];
        var message = new DnsMessage { Questions = [new DnsQuestion(DnsName.Parse(name), DnsType.A, DnsClass.Internet)] };
        return buffer[..message.Write(buffer)];
    }

    private static double Median(Action action)
    {
        var times = new List<double>();
        for (var i = 0; i < Rounds; i++)
        {
            GC.Collect();
            var start = Stopwatch.GetTimestamp();
            action();
            times.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }

        return times.Order().ElementAt(Rounds / 2);
    }

    private static long Held()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        return GC.GetTotalMemory(forceFullCollection: true);
    }

    private static void Print(string what, double value, string unit, double goal) => Console.WriteLine(
        string.Create(CultureInfo.InvariantCulture, $"{what,-16}{value,10:0.###} {unit,-3} goal {goal:0.##}"));
}
