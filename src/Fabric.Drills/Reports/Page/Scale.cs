namespace Fabric.Drills.Reports.Page;

/// <summary>Time on a drawing's width. What lies outside is drawn at the edge.</summary>
internal readonly record struct Scale(DateTimeOffset From, DateTimeOffset To, double Left, double Right)
{
    public double Seconds => Math.Max(0.001, (To - From).TotalSeconds);

    public double X(DateTimeOffset at) => Left + (Right - Left) * Math.Clamp((at - From).TotalSeconds / Seconds, 0, 1);

    /// <summary>The seconds between two marks of the axis: 1, 2 or 5 times a power of ten below a minute, then what clocks show.</summary>
    public static double Step(double seconds, int marks)
    {
        double[] steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
        return steps.FirstOrDefault(s => seconds / s <= marks, Math.Ceiling(seconds / marks / 3600) * 3600);
    }
}
