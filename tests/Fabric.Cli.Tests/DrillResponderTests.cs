using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Fabric.Testing;

namespace Fabric.Cli.Tests;

/// <summary><c>fabric drill responder</c>, the program itself.</summary>
public sealed class DrillResponderTests
{
    [RequiresFact("kill")]
    public async Task It_echoes_until_it_is_told_to_end()
    {
        using var program = Process.Start(new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "fabric"), ["drill", "responder", "--listen", "127.0.0.1:0"])
        {
            RedirectStandardOutput = true,
        })!;
        try
        {
            var line = await program.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromSeconds(60));
            Assert.StartsWith("listening on 127.0.0.1:", line);
            using var caller = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = 20_000 };
            await caller.ConnectAsync(IPEndPoint.Parse(line!["listening on ".Length..]));
            var message = new byte[64];
            "FDL1"u8.CopyTo(message);
            caller.Send(message);
            var echo = new byte[64];
            for (var filled = 0; filled < echo.Length;)
            {
                filled += caller.Receive(echo.AsSpan(filled));
            }

            Assert.Equal(message, echo);
            using (var kill = Process.Start("kill", [program.Id.ToString()]))
            {
                await kill.WaitForExitAsync();
            }

            await program.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(30));
            Assert.Equal(0, program.ExitCode);
        }
        finally
        {
            program.Kill();
        }
    }

    [Theory]
    [InlineData("somewhere", "'somewhere' is no address and port for --listen: write 10.0.0.5:7000, or [fd00::5]:7000")]
    [InlineData("127.0.0.1", "is no address and port")]
    [InlineData("::1:7000", "is no address and port")]
    [InlineData("192.0.2.1:0", "cannot listen on 192.0.2.1:0")]
    public async Task An_address_that_is_none_is_told(string address, string error)
    {
        var (code, output, message) = await Cli.RunAsync(["drill", "responder", "--listen", address], "/nowhere", TimeProvider.System);
        Assert.Equal(("", address.StartsWith("192", StringComparison.Ordinal) ? 1 : 2), (output, code));
        Assert.Contains(error, message);
    }

    [Fact]
    public async Task The_number_of_connections_is_bounded()
    {
        var (code, _, message) = await Cli.RunAsync(["drill", "responder", "--listen", "127.0.0.1:0", "--connections", "5000"], "/nowhere", TimeProvider.System);
        Assert.Equal(2, code);
        Assert.Contains("--connections is 1 to 4096, not 5000", message);
    }
}
