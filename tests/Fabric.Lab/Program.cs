return args is ["failover", ..] ? await Fabric.Lab.Failover.FailoverProgram.Run(args[1..]) : await Fabric.Lab.Demo.DemoProgram.Run(args);
