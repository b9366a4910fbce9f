namespace Fabric.Drills.Reports.Page;

/// <summary>How an event is drawn: v is bad, o is good, d is a move, s is the drill's own. Shapes differ, since colours are not seen by all.</summary>
internal readonly record struct EventKind(char Shape, string Class)
{
    public static EventKind Of(string kind) => kind switch
    {
        "link-down" or "lane-down" or "service-lost" or "fault-revert-failed" => new('v', "bad"),
        "link-up" or "lane-up" or "service-back" or "started" or "certificate-renewed" => new('o', "good"),
        "path-moved" or "stream-moved" or "service-moved" => new('d', "move"),
        "fault-applied" or "fault-reverted" => new('s', "drill"),
        _ => new('o', "other"),
    };

    /// <summary>"link-down dx to virginia-1, detected in 84 ms: 3 probes missed".</summary>
    public static string Say(DrillEvent happened)
    {
        var what = string.Join(' ', new[]
        {
            happened.Kind, happened.Link, happened.Peer.Length > 0 ? "to " + happened.Peer : "", happened.Service,
        }.Where(t => t.Length > 0));
        what += happened.DetectionMs > 0 ? $", detected in {Words.Ms(happened.DetectionMs)}" : "";
        what += happened.PauseMs > 0 ? $", paused {Words.Ms(happened.PauseMs)}" : "";
        return happened.Text.Length > 0 ? $"{what}: {happened.Text}" : what;
    }
}
