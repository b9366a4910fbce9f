using Fabric.Benchmarks;

if (args is ["tunnel", ..])
{
    await TunnelThroughput.RunAsync(rounds: 3, streams: 1);
    await TunnelThroughput.RunAsync(rounds: 2, streams: 8);
}

return 0;
