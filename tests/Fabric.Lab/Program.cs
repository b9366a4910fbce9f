return await Fabric.Lab.Demo.DemoProgram.Run(args);
