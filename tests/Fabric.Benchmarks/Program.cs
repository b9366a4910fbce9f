using System.Globalization;
using BenchmarkDotNet.Running;
using Fabric.Benchmarks;
using Fabric.Tunnel;

if (args is ["memory", ..])
{
    BenchmarkRunner.Run<TunnelMemory>(args: args[1..]);
}
else if (args is ["policy", ..])
{
    BenchmarkRunner.Run<PolicyVerdicts>(args: args[1..]);
}
else if (args is ["dns"])
{
    DnsZones.Measure();
}
else if (args is ["dns-serve", var names, var port, var threads])
{
    await DnsZones.ServeAsync(int.Parse(names, CultureInfo.InvariantCulture), int.Parse(port, CultureInfo.InvariantCulture), int.Parse(threads, CultureInfo.InvariantCulture));
}
else if (args is ["telemetry"])
{
    await ConnectionTelemetry.MeasureAsync();
}
else if (args is ["tunnel", ..])
{
    TunnelDriver[] drivers = args.Length > 1 ? [Enum.Parse<TunnelDriver>(args[1], ignoreCase: true)] : [TunnelDriver.Linux, TunnelDriver.Portable];
    foreach (var driver in drivers)
    {
        Console.WriteLine(driver);
        await TunnelThroughput.RunAsync(driver, rounds: 3, streams: 1);
        await TunnelThroughput.RunAsync(driver, rounds: 2, streams: 8);
    }
}

return 0;
