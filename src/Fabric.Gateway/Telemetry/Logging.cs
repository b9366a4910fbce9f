using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

namespace Fabric.Gateway.Telemetry;

/// <summary>
/// Logs go to standard error: for journald (JOURNAL_STREAM is set) one line an event with syslog's priority in front, else one JSON
/// object a line. FABRIC_LOG sets the least level: trace, debug, information (default), warning, error.
/// </summary>
internal static class Logging
{
    public static ILoggingBuilder Levels(ILoggingBuilder builder) => builder
        .SetMinimumLevel(Enum.TryParse<LogLevel>(Environment.GetEnvironmentVariable("FABRIC_LOG"), ignoreCase: true, out var level)
            ? level : LogLevel.Information)
        .AddFilter("Microsoft", LogLevel.Warning);

    public static void Configure(ILoggingBuilder builder)
    {
        Levels(builder);
        if (Environment.GetEnvironmentVariable("JOURNAL_STREAM") is { Length: > 0 })
        {
            builder.AddSystemdConsole();
        }
        else
        {
            builder.AddJsonConsole(json =>
            {
                json.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffZ";
                json.UseUtcTimestamp = true;
            });
        }

        builder.Services.Configure<ConsoleLoggerOptions>(
            console => console.LogToStandardErrorThreshold = LogLevel.Trace);
    }
}
