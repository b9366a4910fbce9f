using Fabric.Gateway.Hosting;
using Fabric.Testing;

namespace Fabric.Gateway.Tests.Hosting;

public class ThreadNiceTests
{
    [RequiresFact("root")]
    public void Only_the_thread_that_asks_is_raised()
    {
        var (before, raised, after, carries) = (0, false, 0, 0);
        var thread = new Thread(() =>
        {
            before = NiceOfThisThread();
            raised = ThreadNice.Set(ThreadNice.Judges) && ThreadNice.Set(ThreadNice.Judges);
            after = NiceOfThisThread();
            var child = new Thread(() =>
            {
                ThreadNice.Set(ThreadNice.Carries);
                carries = NiceOfThisThread();
            });
            child.Start();
            child.Join();
        });
        var here = NiceOfThisThread();
        thread.Start();
        thread.Join();

        Assert.True(raised);
        Assert.Equal(here, before);
        Assert.Equal(Math.Min(ThreadNice.Judges, before), after);
        Assert.Equal(Math.Min(ThreadNice.Carries, before), carries);
        Assert.Equal(here, NiceOfThisThread());
    }

    /// <summary>/proc/PID/stat, after the name in parentheses: state is field 3, nice field 19.</summary>
    private static int NiceOfThisThread()
    {
        var stat = File.ReadAllText("/proc/thread-self/stat");
        return int.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[16], System.Globalization.CultureInfo.InvariantCulture);
    }
}
