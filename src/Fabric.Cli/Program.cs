using Fabric.Cli;

return await FabricCommand.RunAsync(args, CliHost.OfThisProcess());
