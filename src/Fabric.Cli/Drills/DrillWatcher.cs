using Fabric.Cli.Output;
using Fabric.Drills.Definition;
using Fabric.Drills.Running;

namespace Fabric.Cli.Drills;

/// <summary>Shows a run: on a terminal one screen that is drawn again at most four times a second, in a pipe a line on standard error for what happens.</summary>
internal sealed class DrillWatcher(CliHost host, DrillDefinition drill) : IDrillWatcher
{
    private const string ClearScreen = "\u001b[H\u001b[2J";
    private const int Kept = 12;
    private static readonly TimeSpan Between = TimeSpan.FromMilliseconds(250);

    private readonly Lock _lock = new();
    private readonly Queue<string> _lines = new();
    private readonly bool _draws = host.IsTerminal && host.Setting("TERM", "") != "dumb";
    private long? _drawn;
    private bool _ended;

    public void Show(DrillBoard board)
    {
        lock (_lock)
        {
            if (_draws && !_ended && (_drawn is not { } last || host.Time.GetElapsedTime(last) >= Between || board.Phase == "done"))
            {
                _drawn = host.Time.GetTimestamp();
                host.Error.Write(ClearScreen + DrillScreen.Board(drill, board, [.. _lines], host.Time.GetUtcNow(), host) + "\n");
                host.Error.Flush();
            }
        }
    }

    public void Say(string line)
    {
        lock (_lock)
        {
            var told = $"{host.Time.GetUtcNow():HH:mm:ss} {StatusScreen.Plain(line)}";
            _lines.Enqueue(told);
            if (_lines.Count > Kept)
            {
                _lines.Dequeue();
            }

            if (!_draws)
            {
                host.Error.WriteLine(told);
            }
        }
    }

    public void End()
    {
        lock (_lock)
        {
            _ended = true;
        }
    }
}
