using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;

using Fabric.Lab.Measurement;
using Fabric.Lab.Processes;
using Fabric.Lab.TunnelBench;
using Fabric.Protocol.Dns;

namespace Fabric.Lab.DnsBench;

/// <summary>A zone of so many names, served by so many threads.</summary>
public sealed record DnsCase(int Names, int Threads)
{
    public override string ToString() => $"{Names:N0} names, {Threads} thread{(Threads == 1 ? "" : "s")}";
}

/// <summary>All contestants in turn, round by round: one serves, dnsperf asks for names of the zone at random.</summary>
/// <param name="seconds">Of one load.</param>
/// <param name="rounds">Of all contestants.</param>
/// <param name="cases">What is served, and by how much of the machine.</param>
public sealed partial class DnsRun(int seconds, int rounds, IReadOnlyList<DnsCase> cases)
{
    /// <summary>Asked each second when latency is looked at: what every contestant can do.</summary>
    private const int SteadyRate = 10_000;

    private static readonly TimeSpan _startLimit = TimeSpan.FromSeconds(30);

    public static IReadOnlyList<Measure> Measures { get; } =
    [
        new("dns_qps", "1/s", true, 1.0, "answers to as many questions as fit"),
        new("dns_cpu", "CPU µs", false, 0.9, "of the server for one of these"),
        new("dns_p99", "µs", false, 1.0, $"99th percentile at {SteadyRate:N0} questions a second"),
    ];

    private readonly Dictionary<DnsCase, Results> _results = cases.ToDictionary(c => c, _ => new Results([.. DnsContestant.Peers.Select(p => p.Name)]));
    private readonly Progress _progress = new();

    /// <summary>Of each measure the verdict for the case for which it is worst.</summary>
    public async Task<IReadOnlyList<Figure>> Measure()
    {
        await using var work = await WorkFolder.Take();
        foreach (var size in cases.Select(c => c.Names).Distinct())
        {
            var questions = work.Of($"questions-{size}");
            var random = new Random(1);
            await File.WriteAllLinesAsync(
                questions, Enumerable.Range(0, 200_000).Select(_ => $"{DnsContestant.NameOf(random.Next(size))} A"), Interruption.Token);
            foreach (var round in Enumerable.Range(0, rounds))
            {
                foreach (var one in cases.Where(c => c.Names == size))
                {
                    foreach (var contestant in DnsContestant.Peers.Append(DnsContestant.Fabric))
                    {
                        _progress.Now($"round {round + 1} of {rounds}, {one}: {contestant.Name}");
                        await Measure(work, contestant, one, round, questions);
                    }
                }
            }
        }

        _progress.Now("");
        return [.. Measures.Select(m => cases.Select(c => Verdict(m, c)).OfType<Figure>().MinBy(f => Badness(m, f))!)];
    }

    /// <summary>Medians over rounds.</summary>
    public IEnumerable<string> Table()
    {
        string[] columns = [.. DnsContestant.Peers.Append(DnsContestant.Fabric).Select(c => c.Name)];
        yield return $"{"",-48}{string.Concat(columns.Select(c => $"{c,12}"))}";
        foreach (var one in cases)
        {
            foreach (var measure in Measures)
            {
                var values = columns.Select(c => _results[one].Values(c, measure.Name))
                    .Select(v => $"{Figures.Number(v.Count == 0 ? null : Math.Round(Figures.Percentile(v, 50), 2)),12}");
                yield return $"{measure.Name}, {measure.Unit}, {one}".PadRight(48) + string.Concat(values);
            }
        }
    }

    private Figure? Verdict(Measure measure, DnsCase one) => _results[one].Verdict(DnsContestant.Fabric.Name, measure) is { } figure
        ? figure with { Note = $"{figure.Note}, {one}" } : null;

    private static double Badness(Measure measure, Figure figure) => figure.Value is not { } value ? double.NegativeInfinity
        : measure.MoreIsBetter ? value : -value;

    private async Task Measure(WorkFolder work, DnsContestant contestant, DnsCase one, int round, string questions)
    {
        var port = FreePort();
        var name = $"{contestant.Name}-{one.Names}-{one.Threads}-{round}";
        var folder = work.Folder(name);
        await using var server = Daemon.Start(work, name, contestant.Prepare(folder, one.Names, port, one.Threads));
        await Poll.Until(
            $"{contestant.Name} to serve {one}", _startLimit, () => Answers(port, DnsContestant.NameOf(one.Names - 1)), () => server.Tail());

        // What it compiles or caches at first is not what is measured.
        await Load(port, questions, 2);
        var footprint = new Footprint([server.Pid]);
        var cpu = footprint.CpuSeconds;
        var (answered, rate, _) = await Load(port, questions, seconds);
        cpu = footprint.CpuSeconds - cpu;
        // Nor what it still does after the load, such as to compile again what was asked for often.
        await Load(port, questions, 2, SteadyRate);
        var (_, _, p99) = await Load(port, questions, seconds, SteadyRate);
        var results = _results[one];
        results.Add(contestant.Name, "dns_qps", round, rate);
        results.Add(contestant.Name, "dns_cpu", round, answered == 0 ? null : cpu / answered * 1e6);
        results.Add(contestant.Name, "dns_p99", round, p99 * 1e6);
    }

    /// <summary>Answers, answers each second, and the 99th percentile of their latency in seconds (at a steady rate only).</summary>
    private static async Task<(long Answered, double Rate, double? P99)> Load(int port, string questions, int seconds, int? steady = null)
    {
        string[] argv =
        [
            "dnsperf", "-s", "127.0.0.1", "-p", $"{port}", "-d", questions, "-l", $"{seconds}", "-c", "16", "-T", "1", "-q", "200",
            .. steady is { } rate ? ["-Q", $"{rate}", "-v"] : Array.Empty<string>(),
        ];
        var output = (await Command.Run(argv, TimeSpan.FromSeconds(seconds + 30))).Checked().Output;
        double Number(string pattern) => Regex.Match(output, pattern) is { Success: true } found
            ? double.Parse(found.Groups[1].Value, CultureInfo.InvariantCulture)
            : throw new LabException($"dnsperf did not say {pattern}:\n{output[^Math.Min(output.Length, 2000)..]}");
        var latencies = steady is null ? [] : Latency().Matches(output).Select(m => double.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture)).ToArray();
        return ((long)Number(@"Queries completed:\s+(\d+)"), Number(@"Queries per second:\s+([\d.]+)"),
            latencies.Length == 0 ? null : Figures.Percentile(latencies, 99));
    }

    private static async Task<bool> Answers(int port, string name)
    {
        using var socket = new UdpClient(AddressFamily.InterNetwork);
        var buffer = new byte[512];
        var query = new DnsMessage { Id = 7, Questions = [new DnsQuestion(DnsName.Parse(name), DnsType.A, DnsClass.Internet)] };
        var length = query.Write(buffer);
        try
        {
            socket.Connect(IPAddress.Loopback, port);
            await socket.SendAsync(buffer.AsMemory(0, length), Interruption.Token);
            using var soon = CancellationTokenSource.CreateLinkedTokenSource(Interruption.Token);
            soon.CancelAfter(TimeSpan.FromMilliseconds(200));
            var answer = await socket.ReceiveAsync(soon.Token);
            return DnsMessage.TryRead(answer.Buffer, out var message) && message.Answers.Length == 1;
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException && !Interruption.Token.IsCancellationRequested)
        {
            return false;
        }
    }

    /// <summary>Free for UDP and TCP, and below those that the system gives to whoever asks for any.</summary>
    private static int FreePort()
    {
        while (true)
        {
            var at = new IPEndPoint(IPAddress.Loopback, Random.Shared.Next(20_000, 32_000));
            using var udp = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            using var tcp = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                udp.Bind(at);
                tcp.Bind(at);
                return at.Port;
            }
            catch (SocketException)
            {
                // Another one.
            }
        }
    }

    // > NOERROR s1.ns1.svc.clusterset.local A 0.000123
    [GeneratedRegex(@"^> \S+ .* (\d+\.\d+)$", RegexOptions.Multiline)]
    private static partial Regex Latency();
}
