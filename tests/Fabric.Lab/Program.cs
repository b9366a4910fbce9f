return args switch
{
    ["failover", ..] => await Fabric.Lab.Failover.FailoverProgram.Run(args[1..]),
    ["soak", ..] => await Fabric.Lab.Soak.SoakProgram.Run(args[1..]),
    ["dns", ..] => await Fabric.Lab.DnsBench.DnsProgram.Run(args[1..]),
    ["hold-fault", var socket, var request] => await Fabric.Lab.Faults.HoldFaultProgram.Run(socket, request),
    ["tunnel", ..] => await Fabric.Lab.TunnelBench.TunnelProgram.Run(args[1..]),
    _ => await Fabric.Lab.Demo.DemoProgram.Run(args),
};
